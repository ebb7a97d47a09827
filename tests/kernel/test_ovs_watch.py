"""``cnm watch`` and Open vSwitch: what others do to rows, flows' home and interfaces is heard of, and mended at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kernel import switch
from tests.kernel.private import isolated
from tests.kernel.test_ovs_repair import HARM, manifests, scene_of, well
from tests.kernel.watched import Watched

pytestmark = pytest.mark.requires("netns", "nft", "ovs", "link:veth", "link:tap", "ping")


@isolated
def test_it_mends_what_it_hears_of(tmp_path: Path) -> None:
    with scene_of(tmp_path) as scene:
        scene.write(manifests("netdev"))
        scene.controller.lock([str(tmp_path)])
        with Watched(tmp_path, "--interval", "600") as watched:
            watched.hear("state", state="ok")
            assert well(scene)
            for name in ("port_deleted", "tag_changed", "link_deleted", "bridge_deleted"):
                HARM[name]()
                watched.wait(lambda: scene.plan(locked=True).empty and well(scene), name)
            switch.kill("ovs-vswitchd")
            watched.wait(lambda: scene.plan(locked=True).pending, "its end is seen")
            switch.start_daemon()
            watched.wait(lambda: scene.plan(locked=True).empty and well(scene), "ovs-vswitchd started")
            switch.kill("ovsdb-server")
            switch.start_database()
            HARM["tag_changed"]()
            watched.wait(lambda: scene.plan(locked=True).empty and well(scene), "ovsdb-server started")
