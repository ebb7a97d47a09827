"""The test lane: this checkout's tests on other kernels than the machine's own. See README.md beside this file."""
