"""The attendant: one small process a host that serves what the kernel cannot: names, and published ports on ::1.

cnm opens the sockets, in whatever namespace they belong, and hands them over; the attendant itself opens none but
those to the servers that it asks, and runs without privileges. What it serves are resources like any other: it says
what it has, is told what to take and what to drop, and knows no manifests. It imports nothing of cnm but this package.
"""
