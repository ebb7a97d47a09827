"""An APIC, as far as tests need one: a tree of managed objects behind its REST API, over HTTPS.

What it knows is taken from Cisco's own references and written down apart from the code under test:

- classes, their relative names, what contains them, their attributes with values and defaults: Cisco APIC Management
  Information Model reference (fv:*, vz:*, phys:DomP, vmm:DomP; naming:Name and mo:Annotation for what names may hold);
- login, cookie, ``status`` of posted objects, queries and their filters, ``imdata``: Cisco APIC REST API Configuration
  Guide, "Using the REST API". Without ``status`` a posted object is created or modified; ``created`` refuses one that stands,
  ``modified`` one that does not, ``deleted`` takes all below along and is a success when nothing is there;
- texts and codes of errors: those that users report of APICs (122 unknown class, 102 not found, 103 already exists, 107 bad
  DN, 120 bad attribute or value, 801 failed validation), in ansible's and Terraform's modules for ACI and their issues.

One POST is one transaction. What is unknown here is refused with 400, as an APIC does, never passed over.

Alone: ``python -m tests.lab.apic FOLDER [--port N]``; FOLDER gets ca.pem, password and, once it listens, port.
"""

from __future__ import annotations

import argparse
import http.client
import json
import re
import secrets
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

USER, PASSWORD = "cnm", "correct-horse"
ADMIN_UID = "15374"
_NAME = r"[a-zA-Z0-9_.:-]{1,64}"
_NUMBER_OF_PORT = r"unspecified|[0-9]{1,5}|ftpData|smtp|dns|http|pop3|https|rtsp|ssh"
_YES = "yes|no"
_ETHER = "unspecified|ipv4|trill|arp|ipv6|mpls_ucast|mac_security|fcoe|ip"
_PROTOCOL = "unspecified|icmp|igmp|tcp|egp|igp|udp|icmpv6|eigrp|ospfigp|pim|l2tp|[0-9]{1,3}"
_ICMP4 = "unspecified|echo-rep|dst-unreach|src-quench|echo|time-exceeded"
_ICMP6 = "unspecified|dst-unreach|time-exceeded|echo-req|echo-rep|nbr-solicit|nbr-advert|redirect"
_PORT_NAMES = {
    "20": "ftpData",
    "22": "ssh",
    "25": "smtp",
    "53": "dns",
    "80": "http",
    "110": "pop3",
    "443": "https",
    "554": "rtsp",
}


@dataclass(frozen=True)
class Class:
    """``rn`` with the naming attribute in braces; ``within`` the classes that contain it; ``attributes``: name -> (what it
    may be, default)."""

    rn: str
    within: tuple[str, ...]
    attributes: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    naming: str = ""
    names: str = _NAME  # what the naming attribute may be
    config: bool = True


def _named(prefix: str, *within: str, **attributes: tuple[str, str]) -> Class:
    return Class(
        f"{prefix}-{{name}}", within, {"descr": (r".{0,128}", ""), "nameAlias": (r".{0,63}", ""), **attributes}, "name"
    )


_DN = r"uni/(phys-[^/]+|vmmp-[^/]+/dom-[^/]+)"
_PATH = r"topology/pod-[0-9]+/(prot)?paths-[0-9-]+/(extpaths-[0-9]+/)?pathep-\[[^]]+\]"
_ADDRESS = r"[0-9a-fA-F.:]+/[0-9]{1,3}"
_IMMEDIACY = ("immediate|lazy", "lazy")
MODEL: Mapping[str, Class] = {
    "polUni": Class("uni", ()),
    "fvTenant": _named("tn", "polUni"),
    "fvCtx": _named(
        "ctx", "fvTenant", pcEnfPref=("enforced|unenforced", "enforced"), pcEnfDir=("ingress|egress", "ingress")
    ),
    "vzAny": Class("any", ("fvCtx",), {"prefGrMemb": ("enabled|disabled", "disabled")}),
    "fvBD": _named(
        "BD",
        "fvTenant",
        arpFlood=(_YES, "no"),
        unicastRoute=(_YES, "yes"),
        unkMacUcastAct=("proxy|flood", "proxy"),
        limitIpLearnToSubnets=(_YES, "yes"),
        mac=(r"[0-9A-F]{2}(:[0-9A-F]{2}){5}", "00:22:BD:F8:19:FF"),
    ),
    "fvSubnet": Class(
        "subnet-[{ip}]",
        ("fvBD", "fvAEPg"),
        {
            "scope": ("(private|public|shared)(,(private|public|shared))*", "private"),
            "preferred": (_YES, "no"),
            "descr": (".*", ""),
        },
        "ip",
        _ADDRESS,
    ),
    "fvRsCtx": Class("rsctx", ("fvBD",), {"tnFvCtxName": (f"({_NAME})?", "")}),
    "fvAp": _named("ap", "fvTenant"),
    "fvAEPg": _named(
        "epg", "fvAp", pcEnfPref=("enforced|unenforced", "unenforced"), prefGrMemb=("include|exclude", "exclude")
    ),
    "fvRsBd": Class("rsbd", ("fvAEPg",), {"tnFvBDName": (f"({_NAME})?", "")}),
    "fvRsDomAtt": Class(
        "rsdomAtt-[{tDn}]",
        ("fvAEPg",),
        {"instrImedcy": _IMMEDIACY, "resImedcy": ("immediate|lazy|pre-provision", "immediate")},
        "tDn",
        _DN,
    ),
    "fvRsPathAtt": Class(
        "rspathAtt-[{tDn}]",
        ("fvAEPg",),
        {
            "encap": (
                r"unknown|vlan-([1-9]|[1-9][0-9]{1,2}|[1-3][0-9]{3}|40[0-8][0-9]|409[0-4])|vxlan-[0-9]+",
                "unknown",
            ),
            "mode": ("regular|native|untagged", "regular"),
            "instrImedcy": _IMMEDIACY,
        },
        "tDn",
        _PATH,
    ),
    "fvRsProv": Class(
        "rsprov-{tnVzBrCPName}",
        ("fvAEPg",),
        {"matchT": ("All|AtleastOne|AtmostOne|None", "AtleastOne")},
        "tnVzBrCPName",
    ),
    "fvRsCons": Class("rscons-{tnVzBrCPName}", ("fvAEPg",), {"prio": (".*", "unspecified")}, "tnVzBrCPName"),
    "fvRsIntraEpg": Class("rsintraEpg-{tnVzBrCPName}", ("fvAEPg",), {}, "tnVzBrCPName"),
    "vzBrCP": _named(
        "brc", "fvTenant", scope=("global|tenant|application-profile|context", "context"), prio=(".*", "unspecified")
    ),
    "vzSubj": _named("subj", "vzBrCP", revFltPorts=(_YES, "yes"), prio=(".*", "unspecified")),
    "vzRsSubjFiltAtt": Class(
        "rssubjFiltAtt-{tnVzFilterName}", ("vzSubj",), {"action": ("permit|deny", "permit")}, "tnVzFilterName"
    ),
    "vzFilter": _named("flt", "fvTenant"),
    "vzEntry": _named(
        "e",
        "vzFilter",
        etherT=(_ETHER, "unspecified"),
        prot=(_PROTOCOL, "unspecified"),
        dFromPort=(_NUMBER_OF_PORT, "unspecified"),
        dToPort=(_NUMBER_OF_PORT, "unspecified"),
        sFromPort=(_NUMBER_OF_PORT, "unspecified"),
        sToPort=(_NUMBER_OF_PORT, "unspecified"),
        stateful=(_YES, "no"),
        icmpv4T=(_ICMP4, "unspecified"),
        icmpv6T=(_ICMP6, "unspecified"),
        tcpRules=(".*", ""),
        applyToFrag=(_YES, "no"),
    ),
    "l3extOut": _named("out", "fvTenant"),
    "physDomP": Class("phys-{name}", ("polUni",), {}, "name"),
    "vmmProvP": Class("vmmp-{vendor}", ("polUni",), {}, "vendor", "VMware|Microsoft|OpenStack|Kubernetes|Redhat"),
    "vmmDomP": Class("dom-{name}", ("vmmProvP",), {}, "name"),
}
# What stands as soon as its parent does.
_IMPLICIT = {"fvBD": ("fvRsCtx",), "fvAEPg": ("fvRsBd",), "fvCtx": ("vzAny",)}
_COMMON = ("annotation", "dn", "rn", "status")
_ANNOTATION = re.compile(r"[a-zA-Z0-9_.:-]{0,128}\Z")


class RefusedError(Exception):
    """What becomes an error answer."""

    def __init__(self, code: int, text: str, status: int = 400) -> None:
        self.code, self.text, self.status = code, text, status
        super().__init__(text)


@dataclass
class Object:
    """One managed object. ``uid`` 0: nobody configured it, APIC made it."""

    cls: str
    dn: str
    attributes: dict[str, str]
    uid: str


class Mit:
    """The management information tree."""

    def __init__(self) -> None:
        self.objects: dict[str, Object] = {}
        self._put("polUni", "uni", {}, "0")
        for dn, cls in (
            ("uni/tn-common", "fvTenant"),
            ("uni/tn-common/ctx-default", "fvCtx"),
            ("uni/tn-common/brc-default", "vzBrCP"),
        ):
            self._put(cls, dn, {}, "0")
        self._put("vmmProvP", "uni/vmmp-VMware", {}, "0")

    def children(self, dn: str) -> list[str]:
        return [other for other in self.objects if parent(other) == dn]

    def subtree(self, dn: str) -> list[str]:
        return [other for other in self.objects if other == dn or other.startswith(dn + "/")]

    def post(self, dn: str, body: Any, uid: str = ADMIN_UID) -> None:
        """All of it or nothing."""
        before = {dn: Object(one.cls, one.dn, dict(one.attributes), one.uid) for dn, one in self.objects.items()}
        try:
            self._apply(parent(dn), dn, body, uid)
        except RefusedError:
            self.objects = before
            raise

    def delete(self, dn: str) -> None:
        for other in self.subtree(dn):
            del self.objects[other]

    def _apply(self, above: str, said: str, body: Any, uid: str) -> None:
        if not isinstance(body, dict) or len(body) != 1:
            raise RefusedError(400, "incomplete node at line '1'")
        ((cls, inner),) = body.items()
        if cls not in MODEL:
            raise RefusedError(122, f"unknown managed object class {cls}")
        if not isinstance(inner, dict) or not set(inner) <= {"attributes", "children"}:
            raise RefusedError(400, f"invalid node of class {cls}")
        attributes = dict(inner.get("attributes", {}))
        dn = said or self._dn(cls, above, attributes)
        self._check_place(cls, dn, above, attributes)
        status = set(filter(None, attributes.pop("status", "").split(",")))
        if not status <= {"created", "modified", "deleted"}:
            raise RefusedError(120, f"unknown property value {','.join(sorted(status))}, name status, class {cls}")
        for name in ("dn", "rn"):
            attributes.pop(name, None)
        standing = self.objects.get(dn)
        if status == {"deleted"}:
            self.delete(dn)
            return
        if standing is None and status == {"modified"}:
            raise RefusedError(102, f"configured object ((Dn0)) not found Dn0={dn}, ")
        if standing is not None and status == {"created"}:
            raise RefusedError(103, f"configured object ((Dn0)) already exists Dn0={dn}, ")
        if standing is None and (parent(dn) not in self.objects and parent(dn)):
            raise RefusedError(102, f"configured object ((Dn0)) not found Dn0={parent(dn)}, ")
        self._validate(cls, dn, attributes)
        if standing is None:
            self._put(cls, dn, attributes, uid)
        elif attributes:
            standing.attributes |= attributes
            standing.uid = uid
        for child in inner.get("children", ()):
            self._apply(dn, "", child, uid)

    @staticmethod
    def _dn(cls: str, above: str, attributes: Mapping[str, str]) -> str:
        """An object posted below another is known by its dn, its rn or what names it."""
        if "dn" in attributes:
            return attributes["dn"]
        known = MODEL[cls]
        rn = attributes.get("rn")
        if rn is None:
            if known.naming and known.naming not in attributes:
                raise RefusedError(822, f"naming property ('{cls}.{known.naming}') is not set.")
            rn = known.rn.format(**{known.naming: attributes[known.naming]} if known.naming else {})
        return f"{above}/{rn}" if above else rn

    def _check_place(self, cls: str, dn: str, above: str, attributes: dict[str, str]) -> None:
        known = MODEL[cls]
        if attributes.get("dn", dn) != dn or parent(dn) != above:
            raise RefusedError(
                107, f"unknown property value {attributes.get('dn', dn)}, name dn, class {cls} [(Dn0)] Dn0={dn}, "
            )
        found = re.fullmatch(_shape(known), dn[len(above) + 1 :] if above else dn)
        if found is None:
            raise RefusedError(107, f"unknown property value {dn}, name dn, class {cls} [(Dn0)] Dn0={dn}, ")
        container = self.objects.get(above)
        if container is not None and container.cls not in known.within:
            raise RefusedError(107, f"class {cls} cannot be contained in class {container.cls}, Dn0={dn}, ")
        if known.naming and attributes.setdefault(known.naming, found["name"]) != found["name"]:
            raise RefusedError(
                107, f"unknown property value {attributes[known.naming]}, name {known.naming}, class {cls}"
            )

    @staticmethod
    def _validate(cls: str, dn: str, attributes: dict[str, str]) -> None:
        known = MODEL[cls]
        for name, value in attributes.items():
            if not isinstance(value, str):
                raise RefusedError(120, f"unknown property value {value}, name {name}, class {cls} [(Dn0)] Dn0={dn}, ")
            if name == known.naming:
                continue
            if name == "annotation":
                if not _ANNOTATION.match(value):
                    raise RefusedError(801, f"property annotation of {dn} failed validation for value '{value}'")
            elif name not in known.attributes:
                raise RefusedError(120, f"unknown property name {name}, class {cls} [(Dn0)] Dn0={dn}, ")
            elif not re.fullmatch(known.attributes[name][0], value):
                raise RefusedError(120, f"unknown property value {value}, name {name}, class {cls} [(Dn0)] Dn0={dn}, ")
            if cls == "vzEntry" and name.endswith("Port"):
                attributes[name] = "unspecified" if value == "0" else _PORT_NAMES.get(value, value)

    def _put(self, cls: str, dn: str, attributes: Mapping[str, str], uid: str) -> None:
        known = MODEL[cls]
        defaults = {name: default for name, (_values, default) in known.attributes.items()}
        if known.naming:
            found = re.fullmatch(_shape(known), dn[len(parent(dn)) + 1 :])
            defaults[known.naming] = found["name"] if found is not None else ""
        self.objects[dn] = Object(cls, dn, {"annotation": "", **defaults, **attributes}, uid)
        for child in _IMPLICIT.get(cls, ()):
            if f"{dn}/{MODEL[child].rn}" not in self.objects:
                self._put(child, f"{dn}/{MODEL[child].rn}", {}, "0")

    # -- queries -------------------------------------------------------------------------------------------

    def query(self, dn: str, options: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
        known = {"query-target", "target-subtree-class", "query-target-filter", "rsp-prop-include", "rsp-subtree"}
        for name in options.keys() - known:
            raise RefusedError(400, f"unknown query option {name}")
        target = _last(options, "query-target", "self")
        scope = {
            "self": lambda: [dn] * (dn in self.objects),
            "children": lambda: self.children(dn),
            "subtree": lambda: self.subtree(dn),
        }
        if target not in scope:
            raise RefusedError(400, f"invalid query-target {target}")
        found = scope[target]()
        classes = [name for part in options.get("target-subtree-class", ()) for name in part.split(",")]
        for cls in classes:
            if cls not in MODEL:
                raise RefusedError(121, f"Prop 'targetSubtreeClass' has invalid value '{cls}'")
        if classes:
            found = [other for other in found if self.objects[other].cls in classes]
        text = _last(options, "query-target-filter", "")
        if text:
            holds = parse_filter(text)
            found = [other for other in found if holds(self.objects[other])]
        include = _last(options, "rsp-prop-include", "all")
        if include not in ("all", "config-only", "naming-only"):
            raise RefusedError(400, f"invalid rsp-prop-include {include}")
        full = _last(options, "rsp-subtree", "no") == "full"
        return [self._shown(self.objects[other], include, full=full) for other in found]

    def _shown(self, one: Object, include: str, *, full: bool) -> dict[str, Any]:
        attributes = {"dn": one.dn, **one.attributes}
        if include == "all":
            attributes |= {
                "uid": one.uid,
                "lcOwn": "local",
                "status": "",
                "childAction": "",
                "modTs": "2026-01-01T00:00:00.000+00:00",
            }
        body: dict[str, Any] = {"attributes": attributes}
        if full:
            body["children"] = [self._shown(self.objects[dn], include, full=True) for dn in self.children(one.dn)]
        return {one.cls: body}


def _shape(known: Class) -> str:
    return re.escape(known.rn).replace(re.escape(f"{{{known.naming}}}"), f"(?P<name>{known.names})")


def _last(options: Mapping[str, Sequence[str]], name: str, default: str) -> str:
    return options[name][-1] if name in options else default


def parent(dn: str) -> str:
    """Brackets hold DNs of their own."""
    depth = 0
    for place in reversed(range(len(dn))):
        depth += (dn[place] == "]") - (dn[place] == "[")
        if dn[place] == "/" and not depth:
            return dn[:place]
    return ""


Test = Callable[[Object], bool]
_TOKEN = re.compile(r'\s*([(),]|"[^"]*"|[A-Za-z0-9_.]+)')


def parse_filter(text: str) -> Test:
    """``or(eq(fvTenant.name,"x"),wcard(...))`` of the REST API guide, as far as and, or, not, eq, ne and wcard go."""
    tokens = _TOKEN.findall(text)
    if "".join(tokens) != re.sub(r"\s", "", text) and '"' not in text:
        raise RefusedError(400, f"invalid filter {text}")
    place = iter(tokens)

    def expression(word: str) -> Test:
        expect("(")
        if word in ("and", "or", "not"):
            parts = []
            while True:
                parts.append(expression(next(place)))
                mark = next(place)
                if mark == ")":
                    break
            if word == "not":
                return lambda one: not parts[0](one)
            join = all if word == "and" else any
            return lambda one: join(part(one) for part in parts)
        if word not in ("eq", "ne", "wcard"):
            raise RefusedError(400, f"unknown filter {word}")
        subject = next(place)
        expect(",")
        value = next(place).strip('"')
        expect(")")
        cls, _, name = subject.partition(".")
        if cls not in MODEL:
            raise RefusedError(122, f"unknown managed object class {cls}")
        known = MODEL[cls]
        if name not in known.attributes and name not in (known.naming, "annotation", "dn"):
            raise RefusedError(120, f"unknown property name {name}, class {cls}")

        def holds(one: Object) -> bool:
            if one.cls != cls:
                return False
            is_there = one.dn if name == "dn" else one.attributes.get(name, "")
            return bool({"eq": is_there == value, "ne": is_there != value, "wcard": value in is_there}[word])

        return holds

    def expect(wanted: str) -> None:
        if next(place) != wanted:
            raise RefusedError(400, f"invalid filter {text}")

    try:
        return expression(next(place))
    except StopIteration:
        raise RefusedError(400, f"invalid filter {text}") from None


# -- the wire --------------------------------------------------------------------------------------------------


class StandIn:
    """The server. ``requests`` are (method, path, body) of all but logins. ``refuse``: a text with which posts of objects
    are refused; ``hang_up``: connections are closed unanswered; ``delay``, ``delay_look``: seconds after which posts, and
    questions, are dropped undone; ``delay_after``: seconds before the answer to a post that was done."""

    def __init__(self, folder: Path, address: str = "127.0.0.1", port: int = 0) -> None:
        self.folder = folder
        self.mit = Mit()
        self.requests: list[tuple[str, str, Any]] = []
        self.logins = 0
        self.delay = 0.0
        self.delay_look = 0.0
        self.delay_after = 0.0
        self.refuse = ""
        self.hang_up = False
        self.tokens: set[str] = set()
        self._lock = threading.Lock()
        make_certificates(folder)
        (folder / "password").write_text(PASSWORD + "\n")
        (folder / "password").chmod(0o600)
        self._server = ThreadingHTTPServer((address, port), _handler(self))
        self._server.daemon_threads = True
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "apic.pem", folder / "apic.key")
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def posts(self) -> list[Any]:
        """What was sent to change the tree."""
        return [body for method, path, body in self.requests if method != "GET" and "/aaa" not in path]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def serve(self) -> None:
        """Until the process ends."""
        self._server.serve_forever()

    def admin(self, body: Any, dn: str = "uni") -> None:
        """What an administrator does by hand."""
        self.mit.post(dn, body)

    def tree(self, *tenants: str) -> str:
        """The configured objects of tenants as text, one a line with what is not a default."""
        return "\n".join(self._lines(tenants)) + "\n"

    def _lines(self, tenants: Sequence[str]) -> Iterator[str]:
        for dn in sorted(self.mit.objects):
            one = self.mit.objects[dn]
            if one.uid != "0" and any(dn == f"uni/tn-{name}" or dn.startswith(f"uni/tn-{name}/") for name in tenants):
                known = MODEL[one.cls]
                odd = {
                    name: value
                    for name, value in sorted(one.attributes.items())
                    if name != known.naming and value != known.attributes.get(name, ("", ""))[1]
                }
                yield f"{one.cls} {dn} {' '.join(f'{name}={value}' for name, value in odd.items())}".rstrip()

    # -- one request ---------------------------------------------------------------------------------------

    def answer(self, method: str, target: str, cookie: str, raw: bytes) -> tuple[int, list[Any]]:
        with self._lock:
            try:
                return 200, self._answer(method, target, cookie, raw)
            except RefusedError as refused:
                return refused.status, [{"error": {"attributes": {"code": str(refused.code), "text": refused.text}}}]

    def _answer(self, method: str, target: str, cookie: str, raw: bytes) -> list[Any]:
        parts = urlsplit(target)
        path = unquote(parts.path)
        body: Any = None
        if method == "POST":
            try:
                body = json.loads(raw)
            except ValueError:
                raise RefusedError(400, "incomplete node at line '1'") from None
        if path == "/api/aaaLogin.json":
            return self._log_in(body)
        self.requests.append((method, target, body))
        token = dict(part.strip().partition("=")[::2] for part in cookie.split(";")).get("APIC-cookie", "")
        if token not in self.tokens:
            raise RefusedError(403, "Token was invalid (Error: Token timeout)", 403)
        if path == "/api/aaaLogout.json":
            self.tokens.discard(token)
            return []
        found = re.fullmatch(r"/api/(?:node/)?(mo|class)/(.+)\.json", path)
        if found is None:
            raise RefusedError(404, f"no such path {path}", 404)
        sort, what = found.groups()
        options = parse_qs(parts.query, strict_parsing=bool(parts.query), max_num_fields=20)
        if sort == "class":
            return self.mit.query("uni", {**options, "query-target": ["subtree"], "target-subtree-class": [what]})
        if method == "GET":
            return self.mit.query(what, options)
        if self.refuse:
            raise RefusedError(1, self.refuse)
        if method == "DELETE":
            self.mit.delete(what)
        else:
            self.mit.post(what, body)
        return []

    def _log_in(self, body: Any) -> list[Any]:
        self.logins += 1
        try:
            said = body["aaaUser"]["attributes"]
            right = said["name"] == USER and said["pwd"] == PASSWORD
        except (KeyError, TypeError):
            raise RefusedError(400, "invalid login") from None
        if not right:
            raise RefusedError(401, "Username or password is incorrect - FAILED local authentication", 401)
        token = secrets.token_urlsafe(32)
        self.tokens.add(token)
        return [{"aaaLogin": {"attributes": {"token": token, "refreshTimeoutSeconds": "600", "userName": USER}}}]


def _handler(standin: StandIn) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = 1 << 16  # one segment an answer
        disable_nagle_algorithm = True
        timeout = 60

        def _serve(self) -> None:
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            login = self.path.startswith("/api/aaaLogin")
            if standin.hang_up:
                self.close_connection = True
                return
            delay = standin.delay if self.command != "GET" else standin.delay_look
            if delay and not login:
                time.sleep(delay)
                self.close_connection = True
                return
            status, imdata = standin.answer(self.command, self.path, self.headers.get("Cookie", ""), raw)
            if not login and self.command != "GET":
                time.sleep(standin.delay_after)
            answer = json.dumps({"totalCount": str(len(imdata)), "imdata": imdata}).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_POST = do_DELETE = _serve  # noqa: N815 - as http.server names them

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
            """Not a word on standard error."""

        def handle(self) -> None:
            try:
                super().handle()
            except OSError:  # a client that hung up, or did not like our certificate
                self.close_connection = True

    return Handler


def make_certificates(folder: Path) -> None:
    """ca.pem, and apic.pem with apic.key that it signed, for 127.0.0.1; other-ca.pem, which signed nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / "apic.pem").exists():
        return

    def openssl(*argv: str) -> None:
        subprocess.run(["openssl", *argv], check=True, capture_output=True, cwd=folder)

    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")
    for name in ("ca", "other-ca"):
        openssl("req", "-x509", *curve, "-keyout", f"{name}.key", "-out", f"{name}.pem", "-subj", f"/CN={name}")
    openssl("req", *curve[:-2], "-keyout", "apic.key", "-out", "apic.csr", "-subj", "/CN=apic1")
    (folder / "apic.ext").write_text("subjectAltName=IP:127.0.0.1,DNS:apic1.example.com\nbasicConstraints=CA:FALSE\n")
    openssl(
        "x509", "-req", "-in", "apic.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
        "-extfile", "apic.ext", "-out", "apic.pem",
    )  # fmt: skip


def by_hand(folder: str, port: int, child: Any) -> None:
    """What an administrator does: put something below ``uni`` of a stand-in that runs."""
    context = ssl.create_default_context(cafile=f"{folder}/ca.pem")
    connection = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=10)
    cookie = ""
    login = {"aaaUser": {"attributes": {"name": USER, "pwd": PASSWORD}}}
    for path, body in (("/api/aaaLogin.json", login), ("/api/mo/uni.json", {"polUni": {"children": [child]}})):
        connection.request("POST", path, json.dumps(body), {"Cookie": cookie})
        answer = connection.getresponse()
        said = json.loads(answer.read())
        if answer.status != 200:
            raise RefusedError(answer.status, str(said))
        if not cookie:
            cookie = f"APIC-cookie={said['imdata'][0]['aaaLogin']['attributes']['token']}"
    connection.close()


def main() -> None:
    parser = argparse.ArgumentParser(description="An APIC to try things against.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--domain", action="append", default=[], help="a physical domain that it has")
    parser.add_argument("--contract", action="append", default=[], help="a contract of tenant common")
    arguments = parser.parse_args()
    standin = StandIn(arguments.folder, port=arguments.port)
    for name in arguments.domain:
        standin.admin({"polUni": {"children": [{"physDomP": {"attributes": {"name": name}}}]}})
    for name in arguments.contract:
        standin.admin({"fvTenant": {"children": [{"vzBrCP": {"attributes": {"name": name}}}]}}, "uni/tn-common")
    draft = arguments.folder / "port.new"
    draft.write_text(str(standin.port))
    draft.replace(arguments.folder / "port")
    standin.serve()


if __name__ == "__main__":
    main()
