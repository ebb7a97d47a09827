python3 -m tests.kernel.switch
