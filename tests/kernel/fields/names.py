"""Names, on network front and its sandbox a."""

from __future__ import annotations

from tests.kernel.fields.case import EXCHANGE, IN_PLACE, Case, Documents, spec


def _named(documents: Documents) -> None:
    documents["front"]["spec"]["names"] = True


def _with_dns(documents: Documents) -> None:
    _named(documents)
    documents["a"]["spec"]["dns"] = {"servers": ["192.0.2.53"], "search": ["example.com"]}


CASES: dict[str, Case] = {
    "Network.spec.names": spec("front", "names", True, EXCHANGE),
    "Sandbox.spec.dns": spec("a", "dns", {"servers": ["192.0.2.53"]}, IN_PLACE, before=_named),
    "Sandbox.spec.dns.servers": spec("a", "dns.servers", ["192.0.2.54", "2001:db8::53"], IN_PLACE, before=_with_dns),
    "Sandbox.spec.dns.search": spec("a", "dns.search", ["example.net"], IN_PLACE, before=_with_dns),
}
