"""One suite over every kind of resource, on a real kernel: what a spec declares is what the kernel does."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pytest
from msgspec.structs import replace

from reconciler.engine.execute import Execution
from reconciler.engine.observe import observe
from reconciler.errors import Origin
from reconciler.host.host import Host
from reconciler.planner.diff import make_plan
from reconciler.planner.plan import Action, Observation, Op, Plan
from reconciler.planner.seen import SeenIndex
from reconciler.resources.registry import actuators, kinds
from reconciler.resources.resource import Key, Resource
from reconciler.topology.view import NodeFacts
from tests.contract.sample import Sample
from tests.contract.samples import samples
from tests.kernel.private import isolated, run

pytestmark = pytest.mark.requires("netns", "nft", "link:bridge", "link:veth")


SAMPLES = samples()


def _each(samples: Iterable[Sample]) -> pytest.MarkDecorator:
    found = [
        pytest.param(sample, marks=pytest.mark.requires(*sample.requires), id=f"{sample.spec.key}")
        for sample in samples
    ]
    return pytest.mark.parametrize("sample", found)


every_sample = _each(sample for sample in SAMPLES if not sample.given)


def test_every_kind_has_a_sample() -> None:
    assert {sample.spec.kind for sample in SAMPLES} == set(kinds())


class Bench:
    """A host to hold resources against, with the hardware that a sample needs."""

    def __init__(self, sample: Sample | None = None) -> None:
        if sample is not None and sample.setup:
            run("sh", "-c", sample.setup)
        self.host = Host()

    def look(self, desired: Sequence[Resource]) -> Observation:
        return observe(self.host, desired, NodeFacts())

    def plan(self, desired: Sequence[Resource]) -> Plan:
        return make_plan(desired, self.look(desired), owner="cnm")

    def reach(self, desired: Sequence[Resource]) -> Plan:
        """Apply, and hold that nothing is left to do."""
        plan = self.plan(desired)
        assert not plan.conflicts, plan.conflicts
        execution = Execution(self.host, plan, None)
        execution.run()
        execution.finish()
        assert not execution.failed, execution.failed
        left = [f"{op.id} {op.reason}" for op in self.plan(desired).ops()]
        assert left == []
        return plan

    def apply(self, *ops: Op) -> None:
        """Straight to the actuator; every outcome is a success."""
        (batch,) = {type(op.resource).batch for op in ops}
        for outcome in actuators()[batch].apply(self.host, ops, "cnm"):
            assert outcome.errno == 0, outcome


def _create(resource: Resource) -> Op:
    """As a plan has it: it says who asks for it."""
    asked = replace(resource, origin=Origin("all.yaml", 1, 1))
    return Op(id=f"create:{resource.key}", action=Action.CREATE, key=resource.key, after=asked)


@every_sample
@isolated
def test_create_is_read_back_and_marked(sample: Sample) -> None:
    bench = Bench(sample)
    bench.reach([*sample.base, sample.spec])
    fresh = Bench()  # nothing but the host itself, and the inventory, to know it by
    seen = fresh.look([*sample.base, sample.spec]).items[sample.spec.key]
    assert seen.resource.differs(sample.spec) == ()
    assert seen.owner == "cnm"


@every_sample
@isolated
def test_create_again_is_success(sample: Sample) -> None:
    bench = Bench(sample)
    bench.reach([*sample.base, sample.spec])
    bench.apply(*[_create(resource) for resource in _with_ends(sample)])
    assert bench.plan([*sample.base, sample.spec]).empty


def _with_ends(sample: Sample) -> list[Resource]:
    """A veth's other end is made in the same step."""
    return [sample.spec, *(resource for resource in sample.base if resource.made_by() == sample.spec.key)]


@every_sample
@isolated
def test_each_variant_is_reached_as_declared(sample: Sample) -> None:
    Bench(sample)
    for variant in sample.variants:
        bench = Bench()
        bench.reach([*sample.base, sample.spec])
        pair = getattr(variant, "peer", None) is not None
        base = [resource for resource in sample.base if pair or resource.made_by() != sample.spec.key]
        declared = bench.look([*base, variant]).items[variant.key].resource.change_to(variant)
        plan = bench.reach([*base, variant])
        ops = [op for op in plan.ops() if op.key == variant.key]
        assert declared.in_place == (not any(op.recreate for op in ops))
        assert bench.look([*base, variant]).items[variant.key].resource.differs(variant) == ()
        bench.reach([*sample.base, sample.spec])


@every_sample
@isolated
def test_delete_twice(sample: Sample) -> None:
    bench = Bench(sample)
    bench.reach([*sample.base, sample.spec])
    plan = bench.reach([r for r in sample.base if r.made_by() != sample.spec.key])
    deletes = [op for op in plan.ops() if op.key == sample.spec.key]
    assert [op.action for op in deletes] == [Action.DELETE]
    bench.apply(*deletes)


@_each(sample for sample in SAMPLES if sample.foreign)
@isolated
def test_a_foreign_one_is_a_conflict_and_stays(sample: Sample) -> None:
    bench = Bench(sample)
    run("sh", "-c", sample.foreign)
    plan = bench.plan([*sample.given_base, sample.spec])
    assert [str(sample.spec.key) in problem.message for problem in plan.conflicts] == [True]
    assert not [op for op in plan.ops() if op.key == sample.spec.key]
    assert not list(bench.plan(sample.given_base).ops()), "nothing foreign is pruned"


@_each(sample for sample in SAMPLES if sample.given)
@isolated
def test_what_is_only_built_on_is_waited_for_and_never_touched(sample: Sample) -> None:
    bench = Bench(sample)
    plan = bench.plan([sample.spec])
    assert [(item.key, item.reason) for item in plan.pending] == [(sample.spec.key, sample.spec.awaited())]
    run("sh", "-c", sample.given)
    assert bench.plan([sample.spec]).empty
    assert not bench.plan([sample.spec]).pending
    assert bench.plan([]).empty


@_each(sample for sample in SAMPLES if sample.cascade)
@isolated
def test_the_declared_cascade_is_what_the_kernel_does(sample: Sample) -> None:
    Bench(sample)
    for key in sample.cascade:
        bench = Bench()
        desired = [*sample.base, sample.spec, *sample.beside]
        bench.reach(desired)
        before = bench.look(desired)
        declared = SeenIndex(before.items).closure([key])
        bench.apply(Op(id="x", action=Action.DELETE, key=key, before=before.items[key].resource))
        after = bench.look(desired)
        gone: set[Key] = set(before.items) - set(after.items)
        assert gone == {k for k in declared if k in before.items}
        bench.reach(desired)  # all of it comes back
        bench.reach(sample.given_base)


@isolated
def test_a_secondary_address_goes_with_its_primary_and_comes_back() -> None:
    from tests.contract.samples.address import SAMPLE

    bench = Bench()
    second = replace(SAMPLE.spec, key=Key("address", "", "br0/192.0.2.2/24"), address="192.0.2.2/24")
    bench.reach([*SAMPLE.base, SAMPLE.spec, second])
    plan = bench.reach([*SAMPLE.base, second])
    created = [op.reason for op in plan.ops() if op.action is Action.CREATE]
    assert created == [f"goes with {SAMPLE.spec.key}"]
