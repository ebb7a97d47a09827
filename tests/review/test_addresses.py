"""The tree of addresses: what it says, and that names from manifests cannot break a picture."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

from reconciler.engine.controller import NetworkController
from reconciler.review.addresses import FORMATS, Branch, addresses, text

EXAMPLES = Path(__file__).parents[2] / "manifests" / "examples"


def tree(example: str, node: str) -> str:
    with NetworkController(node=node) as controller:
        return text(addresses(controller.validate([str(EXAMPLES / example)]).topology))


def test_groups_nodes_and_blocks_with_what_is_used() -> None:
    lines = tree("romana", "host1").splitlines()
    assert lines[:10] == [
        "app  romana",
        "├── 10.36.0.0/16  4 of 65,534 used",
        "│   ├── rack1  10.36.0.0/18  3 of 16,384 used  router 192.0.2.1",
        "│   │   ├── host1  10.36.32.0/19  via 192.0.2.11",
        "│   │   │   ├── 10.36.32.0/29  1 of 8 used  bank",
        "│   │   │   │   └── 10.36.32.0  bank",
        "│   │   │   └── 10.36.32.8/29  1 of 8 used  shop",
        "│   │   │       └── 10.36.32.8  shop",
        "│   │   └── host2  10.36.0.0/19  via 192.0.2.12",
        "│   │       └── 10.36.16.0/29  1 of 8 used  shop",
    ]
    assert tree("romana", "host3").splitlines() == lines, "the same from every node"


def test_the_page_shows_what_the_example_gives() -> None:
    page = (Path(__file__).parents[2] / "docs" / "romana.md").read_text()
    shown = page.partition("```\napp  romana\n")[2].partition("```")[0].splitlines()
    real = [line[4:] for line in tree("romana", "host1").splitlines()[1:] if "fd36::" not in line]
    assert [line[4:] for line in shown] == real[: len(shown)]


def test_networks_of_other_drivers_are_in_it_too() -> None:
    said = tree("bridge", "here")
    assert "10.20.1.0/24  1 of 254 used  range 10.20.1.128/25  gateway 10.20.1.1" in said
    assert "10.20.1.10  web@here" in said


def test_pictures_hold_whatever_is_written() -> None:
    branches = [Branch('a"]-->b\\ <x>&', [Branch("\x1b[2J]]>")])]
    for name, draw in FORMATS.items():
        drawn = draw(branches)
        assert "\x1b" not in drawn, name
    assert ET.fromstring(FORMATS["svg"](branches)).tag.endswith("svg")
    assert FORMATS["dot"](branches).count('[label="a\\"]-->b\\\\ <x>&"]') == 1
    assert '"a#34;#93;--#62;b' in FORMATS["mermaid"](branches)
