"""Netlink's wire format: bytes in, bytes out, no sockets.

pyroute2 knows every attribute of every family, and decodes them all; that costs 0.3 ms a link, ten times
what the kernel needs to produce it. Here only what the resources are made of is encoded and decoded. The
tests hold this codec against pyroute2's definitions, attribute by attribute (docs/adr/0002-netlink.md).
"""
