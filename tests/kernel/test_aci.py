"""Tenants on an ACI fabric, against a stand-in for its APIC: what is there after a run, what is sent, and what becomes of
runs that an APIC does not answer, refuses, or answers too late."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from reconciler.engine.controller import NetworkController
from reconciler.engine.result import PlanOptions, Report
from reconciler.errors import RemoteError
from reconciler.planner.plan import Plan
from tests.kernel.private import isolated, run
from tests.lab.apic import PASSWORD, StandIn
from tests.lab.host import ENVIRONMENT

pytestmark = pytest.mark.requires("netns", "command:openssl")

FOLDER = Path(__file__).parent / "aci"
GIVEN = [
    {"physDomP": {"attributes": {"name": "servers"}}},
    {"fvTenant": {"attributes": {"name": "common"}, "children": [
        {"vzBrCP": {"attributes": {"name": name}}} for name in ("public", "shared-dns")
    ]}},
]  # fmt: skip


class Fabric:
    """A stand-in with what a fabric's administrators made, and manifests that name it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.apic = StandIn(Path("/run/apic"))
        for child in GIVEN:
            self.apic.admin({"polUni": {"children": [child]}})
        self.write()

    def write(self, *changes: tuple[str, str]) -> None:
        """The manifests, with parts of their text replaced."""
        text = (FOLDER / "shop.yaml").read_text().replace("APIC", self.apic.url)
        for old, new in changes:
            assert old in text, old
            text = text.replace(old, new)
        (self.folder / "shop.yaml").write_text(text)

    @contextmanager
    def controller(self, **options: Any) -> Iterator[NetworkController]:
        with NetworkController(node=options.pop("node", "here"), **options) as controller:
            yield controller

    def plan(self, **options: Any) -> Plan:
        with self.controller() as controller:
            return controller.plan([str(self.folder)], options=PlanOptions(**options)).plan

    def run(self, **options: Any) -> Report:
        with self.controller() as controller:
            return controller.execute(controller.plan([str(self.folder)], options=PlanOptions(**options)))

    def apply(self, **options: Any) -> Report:
        report = self.run(**options)
        assert report.ok, (report.failed, report.left, report.reason)
        return report

    def destroy(self) -> Report:
        with self.controller() as controller:
            return controller.execute(controller.plan_destroy(), purpose="destroy")

    def fails_to_look(self) -> str:
        """What a plan is refused with."""
        with pytest.raises(RemoteError) as caught:
            self.plan()
        assert PASSWORD not in str(caught.value)
        return str(caught.value)

    def change(self, dn: str, cls: str, **attributes: str) -> None:
        """What an administrator changes by hand, or makes."""
        self.apic.admin({cls: {"attributes": attributes}}, dn)


@contextmanager
def fabric(folder: Path) -> Iterator[Fabric]:
    found = Fabric(folder)
    with found.apic:
        yield found


def cnm(*argv: str, check: bool = True) -> str:
    return run("env", f"PATH={ENVIRONMENT['PATH']}", "cnm", *argv, check=check)


def golden(name: str, tree: str) -> None:
    path = FOLDER / f"{name}.tree"
    if os.environ.get("CNM_WRITE_TREES"):
        path.write_text(tree)
    assert tree == path.read_text()


@isolated
def test_the_tree_is_what_was_asked_for_and_a_second_run_sends_nothing(tmp_path: Path) -> None:
    with fabric(tmp_path) as dc:
        before = dc.apic.tree("shop", "common")
        dc.apply()
        golden("shop", dc.apic.tree("shop"))
        assert len(dc.apic.posts) == 1, "all of it in one transaction"
        assert dc.apic.tree("common") == before, "what others made is as it was"
        assert dc.plan().empty
        dc.apply()
        assert len(dc.apic.posts) == 1
        assert not dc.apic.tokens, "sessions are ended"
        assert dc.destroy().ok
        assert dc.apic.tree("shop", "common") == before
        assert not list(Path("/run/cnm").glob("*.json"))


@isolated
def test_a_change_sends_what_differs(tmp_path: Path) -> None:
    with fabric(tmp_path) as dc:
        dc.apply()
        dc.apic.requests.clear()
        dc.write(("ports: [5432, 80, 6000-6010]", "ports: [5432, 443]"))
        dc.apply()
        (post,) = dc.apic.posts
        assert sorted(leaves(post)) == [
            ("e-tcp.443", "created"),
            ("e-tcp.6000-6010", "deleted"),
            ("e-tcp.80", "deleted"),
        ]
        assert "e-tcp.443 " in dc.apic.tree("shop")
        assert dc.plan().empty


def leaves(body: Any) -> Iterator[tuple[str, str]]:
    """(relative name, status) of the objects that a post is about."""
    ((_cls, inner),) = body.items()
    if not inner.get("children"):
        yield inner["attributes"]["dn"].rpartition("/")[2], inner["attributes"]["status"]
    for child in inner.get("children", ()):
        yield from leaves(child)


@isolated
def test_what_was_changed_by_hand_is_put_back(tmp_path: Path) -> None:
    with fabric(tmp_path) as dc:
        dc.apply()
        tree = dc.apic.tree("shop")
        dc.apic.requests.clear()
        dc.change("uni/tn-shop/ctx-production", "fvCtx", pcEnfPref="unenforced")
        dc.change("uni/tn-shop/BD-front/rsctx", "fvRsCtx", tnFvCtxName="default")
        dc.change("uni/tn-shop/flt-web.to.db/e-tcp.5432", "vzEntry", dToPort="65535")
        dc.apic.mit.delete("uni/tn-shop/ap-store/epg-db/rsprov-web.to.db")
        dc.apic.mit.delete("uni/tn-shop/BD-back")
        plan = dc.plan()
        assert {key.name.partition("/uni/tn-shop/")[2] for key in plan.drift} >= {
            "ctx-production",
            "BD-front/rsctx",
            "flt-web.to.db/e-tcp.5432",
            "ap-store/epg-db/rsprov-web.to.db",
            "BD-back",
        }
        dc.apply()
        assert dc.apic.tree("shop") == tree
        assert len(dc.apic.posts) == 1
        assert dc.plan().empty


@isolated
def test_what_others_made_stays(tmp_path: Path) -> None:
    """In a tenant of ours, beside it, and under the name that ours should have."""
    with fabric(tmp_path) as dc:
        dc.apply()
        dc.change("uni/tn-shop/ap-store/epg-legacy", "fvAEPg", pcEnfPref="enforced")
        dc.change("uni/tn-shop/BD-front/subnet-[192.0.2.1/24]", "fvSubnet", scope="public")
        assert dc.plan().empty, "it is not ours, so it is no drift"
        dc.write(("provides: [public], ", ""))
        dc.apply()
        assert "epg-legacy" in dc.apic.tree("shop")
        with dc.controller() as controller:
            words = [str(problem) for problem in controller.plan_destroy().plan.conflicts]
        assert len(words) == 2
        assert (
            "mo/dc1/uni/tn-shop is to go, but mo/dc1/uni/tn-shop/BD-front/subnet-[192.0.2.1/24] in it is not ours"
            in words[0]
        )
        dc.apic.mit.delete("uni/tn-shop/ap-store/epg-legacy")
        dc.apic.mit.delete("uni/tn-shop/BD-front/subnet-[192.0.2.1/24]")
        dc.change("uni/tn-shop/out-wan", "l3extOut", name="wan")  # of a class that nothing here is of
        report = dc.destroy()
        assert not report.ok
        assert "uni/tn-shop/out-wan in uni/tn-shop is not ours" in str(report.failed[0])
        assert "out-wan" in dc.apic.tree("shop")
        dc.apic.mit.delete("uni/tn-shop/out-wan")
        assert dc.destroy().ok
        assert "shop" not in dc.apic.tree("shop")


@isolated
def test_a_tenant_of_others_is_a_conflict_until_it_is_adopted_or_used_as_it_is(tmp_path: Path) -> None:
    with fabric(tmp_path) as dc:
        dc.change("uni/tn-shop", "fvTenant", name="shop", descr="theirs")
        (problem,) = dc.plan().conflicts
        assert "mo/dc1/uni/tn-shop stands here already and does not carry our mark" in str(problem)
        assert problem.origin.line
        dc.write(("fabric: dc1,", "fabric: dc1, existing: true,"))
        dc.apply()
        assert "fvTenant uni/tn-shop descr=theirs\n" in dc.apic.tree("shop"), "without a mark of ours"
        assert dc.destroy().ok
        assert dc.apic.tree("shop") == "fvTenant uni/tn-shop descr=theirs\n"
        dc.write()
        dc.apply(adopt=True)
        assert "fvTenant uni/tn-shop annotation=orchestrator:cnm.cnm descr=theirs\n" in dc.apic.tree("shop")


@isolated
def test_two_owners_do_not_see_each_others(tmp_path: Path) -> None:
    with fabric(tmp_path) as dc:
        dc.apply()
        tree = dc.apic.tree("shop")
        with dc.controller(owner="other") as controller:
            (problem, *_more) = controller.plan([str(tmp_path)]).plan.conflicts
            assert "belongs to owner 'cnm'" in str(problem)
            assert controller.plan_destroy().plan.empty
        assert dc.apic.tree("shop") == tree


@isolated
def test_what_no_manifest_names_any_more_goes(tmp_path: Path) -> None:
    """A group, then all; known by its mark alone, to a cnm that remembers nothing."""
    with fabric(tmp_path) as dc:
        dc.apply()
        text = (tmp_path / "shop.yaml").read_text()
        parts = [part for part in text.split("---\n") if "name: db" not in part]
        (tmp_path / "shop.yaml").write_text("---\n".join(parts))
        run("rm", "-r", "/run/cnm")
        dc.apply()
        assert "db" not in dc.apic.tree("shop").replace("uni/tn-shop/BD-back", "")
        fabric_alone = [part for part in text.split("---\n") if "kind: AciFabric" in part or "kind: Node" in part]
        (tmp_path / "shop.yaml").write_text("---\n".join(fabric_alone))
        run("rm", "-r", "/run/cnm")
        dc.apply()
        assert "uni/tn-shop" not in dc.apic.tree("shop")


@isolated
def test_one_node_speaks_for_all_and_another_can_take_over(tmp_path: Path) -> None:
    with fabric(tmp_path) as dc:
        dc.apply()
        tree, asked = dc.apic.tree("shop"), len(dc.apic.requests)
        dc.write(("node: here\n", "node: rack1\n"))
        assert dc.plan().empty, "the old speaker leaves all to the new one"
        assert len(dc.apic.requests) == asked
        state = tmp_path / "rack1"
        with dc.controller(node="rack1", state_dir=state) as controller:
            plan = controller.plan([str(tmp_path / "shop.yaml")], options=PlanOptions(targets=("mo/*",))).plan
        assert plan.empty, "to which they are its own"
        assert dc.apic.tree("shop") == tree


# -- an APIC that does not do what it is asked ---------------------------------------------------------------------


@isolated
def test_an_apic_that_is_not_reached(tmp_path: Path) -> None:
    with fabric(tmp_path) as dc:
        dc.write((dc.apic.url, "https://127.0.0.1:9"))
        assert dc.fails_to_look() == "APIC https://127.0.0.1:9 is not reached: Connection refused"
        dc.write((f'["{dc.apic.url}"]', f'["https://127.0.0.1:9", "{dc.apic.url}"]'))
        dc.apply()  # the next one answers
        dc.apic.hang_up = True
        assert "is not reached" in dc.fails_to_look()
        dc.apic.hang_up = False
        assert dc.plan().empty


@isolated
def test_a_run_that_is_refused_changes_nothing_and_the_next_one_does_it(tmp_path: Path) -> None:
    with fabric(tmp_path) as dc:
        before = dc.apic.tree("shop")
        dc.apic.refuse = "tenant limit reached"
        report = dc.run()
        assert not report.ok
        assert f"APIC {dc.apic.url} answers 400: tenant limit reached (code 1)" in str(report.failed[0])
        assert report.rollback is not None
        assert report.rollback.complete
        assert dc.apic.tree("shop") == before
        dc.apic.refuse = ""
        dc.apply()
        golden("shop", dc.apic.tree("shop"))


@isolated
@pytest.mark.parametrize("done", [False, True], ids=["nothing was done", "all was done"])
def test_an_answer_that_comes_too_late(tmp_path: Path, done: bool) -> None:
    """Nobody can tell then what became of the request; the next run finds out."""
    with fabric(tmp_path) as dc:
        dc.write(("timeout: 10", "timeout: 1"))
        with dc.controller() as controller:
            planned = controller.plan([str(tmp_path)])
            dc.apic.delay, dc.apic.delay_after = (0.0, 1.5) if done else (1.5, 0.0)
            report = controller.execute(planned)
        assert not report.ok
        words = str(report.failed[0])
        assert "no answer within 1 s; whether it did what it was asked to, the next look will tell" in words
        dc.apic.delay = dc.apic.delay_after = 0.0
        dc.apic.delay_look = 1.5
        assert dc.fails_to_look() == f"APIC {dc.apic.url} is not reached: no answer within 1 s"
        dc.apic.delay_look = 0.0
        dc.apply()
        golden("shop", dc.apic.tree("shop"))
        assert dc.plan().empty


@isolated
def test_what_came_into_being_since_the_look_is_not_overwritten(tmp_path: Path) -> None:
    with fabric(tmp_path) as dc, dc.controller() as controller:
        planned = controller.plan([str(tmp_path)])
        dc.change("uni/tn-shop", "fvTenant", name="shop", descr="theirs")
        report = controller.execute(planned)
        assert "uni/tn-shop stands there already, and is not ours" in str(report.failed[0])
        assert dc.apic.tree("shop") == "fvTenant uni/tn-shop descr=theirs\n"


@isolated
def test_a_session_that_ended_is_opened_again(tmp_path: Path) -> None:
    with fabric(tmp_path) as dc, dc.controller() as controller:
        planned = controller.plan([str(tmp_path)])
        dc.apic.tokens.clear()  # as after ten minutes
        assert controller.execute(planned).ok
        assert dc.apic.logins == 2


# -- trust -------------------------------------------------------------------------------------------------------


@isolated
def test_certificates_are_checked(tmp_path: Path) -> None:
    with fabric(tmp_path) as dc:
        for changes, words in (
            ((("ca.pem", "other-ca.pem"),), "certificate verify failed"),
            ((("  caFile: /run/apic/ca.pem\n", ""),), "certificate verify failed"),
            ((("https://127.0.0.1", "https://localhost"),), "Hostname mismatch"),
            ((("ca.pem", "none.pem"),), "caFile /run/apic/none.pem: No such file or directory"),
        ):
            dc.write(*changes)
            assert words in dc.fails_to_look()
        assert not dc.apic.logins, "no password was sent"
        assert not dc.apic.requests


@isolated
def test_the_password_is_in_its_file_alone(tmp_path: Path) -> None:
    with fabric(tmp_path) as dc:
        path = Path("/run/apic/password")
        path.chmod(0o644)
        plan = dc.plan()
        words = (
            "no usable password in /run/apic/password: it needs mode 0600, root as owner, the password as its only line"
        )
        assert words in {pending.reason for pending in plan.pending}
        assert plan.empty
        path.chmod(0o600)
        path.write_text("wrong\n")
        assert "answers 401: Username or password is incorrect" in dc.fails_to_look()
        path.write_text(PASSWORD + "\n")
        dc.apply()
        dc.write(("ports: [5432", "ports: [5433"))
        kept = Path("/run/kept")
        kept.mkdir()
        shown = cnm("show", "--observed", "--node", "here", "-o", str(kept / "seen.json"), str(tmp_path))
        shown += cnm("plan", "--node", "here", "-v", "-o", str(kept / "plan.json"), str(tmp_path), check=False)
        shown += "".join(file.read_text() for folder in (kept, Path("/run/cnm")) for file in folder.rglob("*.json"))
        assert "5433" in shown
        assert PASSWORD not in shown
        assert json.loads((kept / "seen.json").read_text())
        path.unlink()
        with pytest.raises(RemoteError, match="no usable password"):
            dc.destroy()
        path.write_text(PASSWORD + "\n")
        path.chmod(0o600)
        assert dc.destroy().ok
