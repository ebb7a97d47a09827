"""The stand-in for an APIC refuses what an APIC refuses: without that, tests against it would show nothing."""

from __future__ import annotations

from typing import Any

import pytest

from tests.lab.apic import Mit, RefusedError


def tenant(name: str = "shop", *children: Any, **attributes: str) -> dict[str, Any]:
    return {
        "polUni": {"children": [{"fvTenant": {"attributes": {"name": name, **attributes}, "children": list(children)}}]}
    }


def one(cls: str, *children: Any, **attributes: str) -> dict[str, Any]:
    return {cls: {"attributes": attributes, "children": list(children)}}


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (tenant("shop", one("fvFoo", name="x")), 122),
        (tenant("shop", one("fvBD", name="x", colour="red")), 120),
        (tenant("shop", one("fvBD", name="x", arpFlood="perhaps")), 120),
        (tenant("shop", one("fvCtx", name="x", pcEnfPref="")), 120),
        (tenant("shop", one("fvAEPg", name="x")), 107),  # only below an fvAp
        (tenant("two words"), 107),
        (tenant("shop", one("fvBD")), 822),
        (tenant("shop", annotation="orchestrator cnm"), 801),
        (tenant("absent", status="modified"), 102),
        (tenant("common", status="created"), 103),
        (tenant("shop", status="perhaps"), 120),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_and_nothing_is_done(body: Any, code: int) -> None:
    mit = Mit()
    before = set(mit.objects)
    with pytest.raises(RefusedError) as caught:
        mit.post("uni", body)
    assert caught.value.code == code
    assert caught.value.status == 400
    assert set(mit.objects) == before


def test_one_post_is_one_transaction() -> None:
    mit = Mit()
    mit.post("uni", tenant("shop", one("fvCtx", name="a", pcEnfPref="unenforced")))
    with pytest.raises(RefusedError):
        mit.post("uni", tenant("shop", one("fvCtx", name="a", pcEnfPref="enforced"), one("fvBD", name="b", mac="none")))
    assert mit.objects["uni/tn-shop/ctx-a"].attributes["pcEnfPref"] == "unenforced"


def test_a_deleted_object_takes_along_all_below_and_absent_is_success() -> None:
    mit = Mit()
    mit.post("uni", tenant("shop", one("fvAp", one("fvAEPg", name="web"), name="store")))
    assert "uni/tn-shop/ap-store/epg-web/rsbd" in mit.objects  # APIC's own
    for _ in range(2):
        mit.post("uni", tenant("shop", status="deleted"))
        assert not mit.subtree("uni/tn-shop")


def test_queries() -> None:
    mit = Mit()
    mit.post("uni", tenant("shop", one("fvBD", name="x", annotation="orchestrator:a"), one("fvBD", name="y")))
    query = {"query-target": ["subtree"], "target-subtree-class": ["fvBD,fvCtx"]}
    assert [cls for item in mit.query("uni/tn-shop", query) for cls in item] == ["fvBD", "fvBD"]
    query["query-target-filter"] = ['or(eq(fvBD.annotation,"orchestrator:a"),eq(fvCtx.name,"default"))']
    assert sorted(item[cls]["attributes"]["dn"] for item in mit.query("uni", query) for cls in item) == [
        "uni/tn-common/ctx-default",
        "uni/tn-shop/BD-x",
    ]
    assert mit.query("uni/tn-absent", {}) == []
    for bad in ({"query-target": ["all"]}, {"colour": ["red"]}, {"query-target-filter": ["eq(fvBD.colour,1)"]}):
        with pytest.raises(RefusedError):
            mit.query("uni", bad)


def test_ports_have_names() -> None:
    mit = Mit()
    entry = one("vzEntry", name="e", dFromPort="80", dToPort="81", prot="tcp", etherT="ip")
    mit.post("uni", tenant("shop", one("vzFilter", entry, name="f")))
    assert mit.objects["uni/tn-shop/flt-f/e-e"].attributes["dFromPort"] == "http"
    assert mit.objects["uni/tn-shop/flt-f/e-e"].attributes["dToPort"] == "81"
