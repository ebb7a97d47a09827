"""The scalar types of manifests: strict, with errors that say what to write instead."""

from __future__ import annotations

import re
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, WithJsonSchema

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\Z")
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}\Z")
_SYSCTL = re.compile(r"[A-Za-z0-9_\-]+([./][A-Za-z0-9_\-@:.]+)*\Z")


def _name(value: str) -> str:
    if not _NAME.match(value):
        raise ValueError(
            f"{value!r} is not a valid name: write lower-case letters, digits and '-', "
            "beginning and ending with a letter or digit, at most 63 (RFC 1123 label)"
        )
    return value


def _domain(value: str) -> str:
    if len(value) > 253 or not all(_NAME.match(label) for label in value.lower().split(".")):
        raise ValueError(f"{value!r} is not a domain: write labels of letters, digits and '-', like 'example.com'")
    return value.lower()


def _interface(value: str) -> str:
    if not value or len(value.encode()) > 15:
        raise ValueError(f"{value!r} is not a valid interface name: write 1 to 15 bytes")
    if value in (".", "..") or any(c in "/:" or c.isspace() or not c.isprintable() for c in value):
        raise ValueError(f"{value!r} is not a valid interface name: write it without '/', ':' and spaces")
    if value in ("all", "default"):
        raise ValueError(f"{value!r} cannot name an interface: sysctl gives it a meaning of its own")
    return value


def _address(value: Any) -> Any:
    if isinstance(value, (IPv4Address, IPv6Address)):
        return value
    if not isinstance(value, str):
        raise ValueError("write an address in quotes, like '192.0.2.10' or '2001:db8::10'")
    try:
        address = ip_address(value)
    except ValueError:
        hint = "one like '192.0.2.10' or '2001:db8::10'"
        if "/" in value:
            hint = f"it without the prefix length, {value.split('/')[0]!r}"
        raise ValueError(f"{value!r} is not an IP address: write {hint}") from None
    if isinstance(address, IPv6Address) and address.scope_id:
        raise ValueError(f"{value!r} has a zone: write it without '%{address.scope_id}'")
    return address


def _cidr(value: Any) -> Any:
    if isinstance(value, (IPv4Network, IPv6Network)):
        return value
    if not isinstance(value, str) or "/" not in value:
        raise ValueError(f"{value!r} is not a CIDR: write address/length, like '192.0.2.0/24' or '2001:db8::/64'")
    try:
        return ip_network(value)
    except ValueError:
        try:
            network = ip_network(value, strict=False)
        except ValueError:
            raise ValueError(f"{value!r} is not a CIDR: write one like '192.0.2.0/24' or '2001:db8::/64'") from None
        raise ValueError(f"{value!r} has host bits set: write '{network}'") from None


def _mac(value: str) -> str:
    mac = value.lower().replace("-", ":")
    if not _MAC.match(mac):
        raise ValueError(f"{value!r} is not a MAC address: write six bytes, like '02:42:ac:11:00:02'")
    if int(mac[:2], 16) & 1:
        clear = f"{int(mac[:2], 16) & 0xFE:02x}{mac[2:]}"
        raise ValueError(f"{value!r} is a multicast MAC address: write one with that bit clear, like '{clear}'")
    if mac == "00:00:00:00:00:00":
        raise ValueError("a MAC address of zeros cannot be used")
    return mac


def _path(value: str) -> str:
    if not value.startswith("/") or len(value) > 255 or ".." in value.split("/") or not value.isprintable():
        raise ValueError(f"{value!r} is not the path of a file: write an absolute one, like /etc/cnm/leaf.password")
    return value


def _sysctl(value: str) -> str:
    if not _SYSCTL.match(value) or ".." in value or not value.replace("/", ".").startswith("net."):
        raise ValueError(f"{value!r} is not a network sysctl: write one under net., like 'net.ipv4.conf.all.rp_filter'")
    return value


def _sysctl_value(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise ValueError("write a number or a string")
    text = str(value)
    if not text or len(text) > 256 or not text.isprintable():
        raise ValueError("write 1 to 256 printable characters")
    return " ".join(text.split())


WORDS: dict[str, str] = {}  # the pattern of a type in the schemas -> the word for it in docs/manifest.md


def _schema(word: str, pattern: str, **more: int) -> WithJsonSchema:
    WORDS[pattern] = word
    return WithJsonSchema({"type": "string", "pattern": pattern, **more})


Name = Annotated[str, AfterValidator(_name), _schema("name", "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")]
DomainName = Annotated[str, AfterValidator(_domain), _schema("domain", "^[A-Za-z0-9.-]{1,253}$")]
InterfaceName = Annotated[
    str, AfterValidator(_interface), _schema("interface name", r"^[^/:\s]+$", minLength=1, maxLength=15)
]
_text = PlainSerializer(str, return_type=str)
IPAddress = Annotated[
    IPv4Address | IPv6Address, BeforeValidator(_address), _text, _schema("IP address", "^[0-9a-fA-F.:]+$")
]
Cidr = Annotated[
    IPv4Network | IPv6Network, BeforeValidator(_cidr), _text, _schema("CIDR", "^[0-9a-fA-F.:]+/[0-9]{1,3}$")
]
Mac = Annotated[str, AfterValidator(_mac), _schema("MAC address", "^[0-9A-Fa-f]{2}([:-][0-9A-Fa-f]{2}){5}$")]
FilePath = Annotated[str, AfterValidator(_path), _schema("path", "^/", maxLength=255)]
Mtu = Annotated[int, Field(ge=68, le=65535)]
SysctlName = Annotated[str, AfterValidator(_sysctl), _schema("sysctl", "^net[./]")]
SysctlValue = Annotated[
    str, BeforeValidator(_sysctl_value), WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "integer"}]})
]
LabelValue = Annotated[str, Field(max_length=253)]
Labels = dict[str, LabelValue]

PortNumber = Annotated[int, Field(ge=1, le=65535)]
_RANGE = re.compile(r"([1-9][0-9]{0,4})-([1-9][0-9]{0,4})\Z")
_PORT_NAME = re.compile(r"(?=.*[a-z])[a-z0-9]([-a-z0-9]{0,13}[a-z0-9])?\Z")


def _port(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 65535:
        return value
    if isinstance(value, str):
        found = _RANGE.match(value)
        if found and int(found[1]) <= int(found[2]) <= 65535:
            return value
        if _PORT_NAME.match(value):
            return value
    raise ValueError(f"{value!r} is not a port: write a number like 80, a range like '8000-8100' or a port's name")


def _port_name(value: str) -> str:
    if not _PORT_NAME.match(value):
        raise ValueError(
            f"{value!r} is not a port's name: write at most 15 lower-case letters, digits and '-', one letter at least"
        )
    return value


def _selector(value: str) -> str:
    from reconciler.policy.selector import parse  # its errors are ValueErrors that name the character

    parse(value)
    return value


Port = Annotated[
    int | str,
    BeforeValidator(_port),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 1, "maximum": 65535},
                {"type": "string", "pattern": "^[a-z0-9][-a-z0-9]{0,14}$"},
            ]
        }
    ),
]
PortName = Annotated[str, AfterValidator(_port_name), _schema("port name", "^[a-z0-9]([-a-z0-9]{0,13}[a-z0-9])?$")]
SelectorText = Annotated[str, AfterValidator(_selector), WithJsonSchema({"type": "string", "maxLength": 4096})]
