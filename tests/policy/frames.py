"""Frames by hand: what somebody who is root in a sandbox can put on the wire."""

from __future__ import annotations

import socket
import struct
from ipaddress import IPv4Address, IPv6Address, ip_address

from tests.policy.prober import checksum

BROADCAST = "ff:ff:ff:ff:ff:ff"
IPV4, ARP, IPV6, VLAN, LLDP = 0x0800, 0x0806, 0x86DD, 0x8100, 0x88CC


def mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def ethernet(source: str, destination: str, kind: int, body: bytes) -> bytes:
    return mac(destination) + mac(source) + struct.pack("!H", kind) + body.ljust(46, b"\0")


def tagged(source: str, destination: str, vlan: int, kind: int, body: bytes) -> bytes:
    return ethernet(source, destination, VLAN, struct.pack("!HH", vlan, kind) + body)


def arp(operation: int, sender_mac: str, sender: str, target: str, *, source: str = "") -> bytes:
    """1: who has ``target``?  2: ``sender`` is at ``sender_mac``. RFC 826."""
    body = struct.pack("!HHBBH", 1, IPV4, 6, 4, operation) + mac(sender_mac) + IPv4Address(sender).packed
    body += bytes(6) + IPv4Address(target).packed
    return ethernet(source or sender_mac, BROADCAST, ARP, body)


def udp(source: str, destination: str, sport: int, dport: int, payload: bytes = b"x") -> bytes:
    """An IP packet of either version."""
    here, there = ip_address(source), ip_address(destination)
    body = struct.pack("!HHHH", sport, dport, 8 + len(payload), 0) + payload
    pseudo = here.packed + there.packed + struct.pack("!IBBBB", len(body), 0, 0, 0, 17)
    if isinstance(here, IPv4Address):
        pseudo = here.packed + there.packed + struct.pack("!BBH", 0, 17, len(body))
    padded = pseudo + body + b"\0" * (len(body) % 2)
    body = body[:6] + struct.pack("!H", checksum(padded) or 0xFFFF) + body[8:]
    return ip(source, destination, 17, body)


def ip(source: str, destination: str, protocol: int, body: bytes, hops: int = 64) -> bytes:
    here, there = ip_address(source), ip_address(destination)
    if isinstance(here, IPv4Address):
        head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 1, 0, hops, protocol, 0) + here.packed + there.packed
        return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + body
    return struct.pack("!IHBB", 6 << 28, len(body), protocol, hops) + here.packed + there.packed + body


def icmp6(source: str, destination: str, kind: int, body: bytes) -> bytes:
    """Type, code 0, checksum, ``body`` (which begins after the checksum)."""
    message = struct.pack("!BBH", kind, 0, 0) + body
    pseudo = IPv6Address(source).packed + IPv6Address(destination).packed + struct.pack("!II", len(message), 58)
    padded = pseudo + message + b"\0" * (len(message) % 2)
    message = message[:2] + struct.pack("!H", checksum(padded)) + message[4:]
    return ip(source, destination, 58, message, hops=255)


def advertisement(source: str, target: str, at: str) -> bytes:
    """A neighbour advertisement to all nodes: ``target`` is at ``at``. RFC 4861, 4.4."""
    body = struct.pack("!I", 0x20000000) + IPv6Address(target).packed + b"\x02\x01" + mac(at)
    return icmp6(source, "ff02::1", 136, body)


def router(source: str, at: str) -> bytes:
    """A router advertisement to all nodes. RFC 4861, 4.2."""
    return icmp6(source, "ff02::1", 134, struct.pack("!BBHII", 64, 0, 1800, 0, 0) + b"\x01\x01" + mac(at))


def wire(interface: str) -> socket.socket:
    """A packet socket on an interface of the namespace that the calling thread is in."""
    found = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    found.bind((interface, 0))
    found.setblocking(False)
    return found


def tcp_syn(source: str, destination: str, sport: int, dport: int, payload: bytes = b"") -> bytes:
    """The first packet of a TCP connection, with data as TCP Fast Open would (RFC 7413)."""
    here, there = ip_address(source), ip_address(destination)
    body = struct.pack("!HHIIBBHHH", sport, dport, 1, 0, 5 << 4, 2, 65535, 0, 0) + payload
    pseudo = here.packed + there.packed
    pseudo += (
        struct.pack("!BBH", 0, 6, len(body)) if here.version == 4 else struct.pack("!IBBBB", len(body), 0, 0, 0, 6)
    )
    padded = pseudo + body + b"\0" * (len(body) % 2)
    body = body[:16] + struct.pack("!H", checksum(padded)) + body[18:]
    return ip(source, destination, 6, body)


def icmp4(source: str, destination: str, kind: int, payload: bytes) -> bytes:
    body = struct.pack("!BBHHH", kind, 0, 0, 1, 1) + payload
    return ip(source, destination, 1, body[:2] + struct.pack("!H", checksum(body)) + body[4:])
