"""What holds of every plan's order, and of plans made from documents in any order."""

from __future__ import annotations

import json
import random

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from reconciler.manifest.document import Document
from reconciler.planner.diff import make_plan
from reconciler.planner.file import plan_to_data
from reconciler.planner.plan import Action, Observation
from reconciler.planner.seen import SeenIndex
from reconciler.resources.resource import Observed
from tests.property.modelhost import ModelHost
from tests.property.test_plan import World, bare, owned, plan, reach
from tests.property.worlds import desired, documents, worlds


@given(worlds)
def test_what_is_seen_as_it_is_wanted_needs_no_plan(world: World) -> None:
    seen = Observation({resource.key: Observed(resource, "cnm") for resource in world})
    made = make_plan(world, seen, owner="cnm")
    assert (made.empty, made.drift, made.pending, made.conflicts) == (True, (), (), ())


@given(worlds, worlds, st.randoms(use_true_random=False))
def test_the_batches_of_a_stage_wait_for_nothing_in_it(one: World, two: World, chance: random.Random) -> None:
    host = bare()
    reach(host, one)
    made = plan(host, two)
    other = host.copy()
    host.run(made)
    other.run(replace(made, stages=tuple(tuple(chance.sample(stage, len(stage))) for stage in made.stages)))
    assert other.items == host.items


@given(worlds, worlds)
def test_nothing_goes_before_what_hangs_on_it_unless_it_is_told(one: World, two: World) -> None:
    host = bare()
    reach(host, one)
    gone = set()
    index = SeenIndex(host.items)
    for op in plan(host, two).ops():
        if op.action is Action.DELETE and not op.resource.setting:
            assert index.closure([op.key]) - gone <= {op.key, *op.also_removes}
            gone |= {op.key, *op.also_removes}


@given(worlds, worlds, st.data())
def test_a_half_done_plan_can_be_taken_back(one: World, two: World, data: st.DataObject) -> None:
    """Rollback after a failure or a crash at any step: what stood before is what is wanted."""
    host = bare()
    reach(host, one)
    before = dict(host.items)
    made = plan(host, two)
    host.run(made, data.draw(st.integers(0, len(list(made.ops())))))
    reach(host, tuple(seen.resource for seen in before.values() if seen.owner == "cnm"))
    assert owned(host.items) == owned(before)


@given(worlds, worlds, st.data())
def test_a_target_prunes_nothing(one: World, two: World, data: st.DataObject) -> None:
    host = bare()
    reach(host, one)
    targets = data.draw(
        st.lists(st.sampled_from(["Network/n1", "Endpoint/*", "link/*", "nft-*", "netns/a"]), min_size=1)
    )
    made = make_plan(two, host.look(), owner="cnm", targets=targets)
    wanted = {resource.key for resource in two}
    assert {op.key for op in made.ops() if op.action is Action.DELETE} <= wanted


def bytes_of(found: list[Document], host: ModelHost) -> str:
    return json.dumps(plan_to_data(make_plan(desired(found), host.look(), owner="cnm")))


@given(documents(), worlds, st.randoms(use_true_random=False))
def test_the_order_of_documents_does_not_matter(found: list[Document], stood: World, chance: random.Random) -> None:
    host = bare()
    reach(host, stood)
    assert bytes_of(chance.sample(found, len(found)), host) == bytes_of(found, host)
