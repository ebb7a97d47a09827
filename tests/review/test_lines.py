"""A change of a text of many lines is told line by line."""

from __future__ import annotations

from msgspec.structs import replace

from reconciler.planner.plan import Action, Op
from reconciler.planner.reason import difference
from reconciler.resources.bird import BirdConfig, bird_key
from reconciler.review.outline import changes_of

_BEFORE = BirdConfig(key=bird_key(), content="# cnm cnm: ours\nrouter id 192.0.2.1;\nprotocol device {}\n")


def test_only_the_lines_that_differ() -> None:
    after = replace(_BEFORE, content="# cnm cnm: ours\nrouter id 192.0.2.7;\nprotocol device {}\nprotocol direct {}\n")
    op = Op(id="x", action=Action.UPDATE, key=_BEFORE.key, before=_BEFORE, after=after)
    assert changes_of(op) == (
        ("content, line 2", "router id 192.0.2.1;", "router id 192.0.2.7;"),
        ("content, line 4", "nothing", "protocol direct {}"),
    )
    assert difference(_BEFORE, after) == "content: 2 lines added, 1 removed"
    back = replace(_BEFORE, content="protocol device {}\n")
    assert difference(after, back) == "content: 0 lines added, 3 removed"
