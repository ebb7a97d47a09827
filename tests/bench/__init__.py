"""``make bench``: cnm beside the bare tools, in one run on one machine."""
