"""Which tests belong in which lane: from the capabilities that they name, found out on this machine."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

import pytest

from tests.lab.capability import Provider, missing, provider


class Choice(StrEnum):
    """Which tests ``--choose`` writes down."""

    WAITING = "waiting"  # need what another kernel has and this one lacks
    KERNEL = "kernel"  # need any kernel at all
    HARDWARE = "hardware"  # need a device


def needs(item: pytest.Item) -> list[str]:
    """The capabilities that a test names, in order."""
    named = [capability for mark in item.iter_markers("requires") for capability in mark.args]
    if {"host", "hosts"}.intersection(getattr(item, "fixturenames", ())):
        named.insert(0, "netns")
    return list(dict.fromkeys(named))


def lane_could_run(capabilities: Iterable[str]) -> bool:
    """Whether another kernel on this machine is all that is missing."""
    return all(provider(capability) is Provider.KERNEL for capability in capabilities)


def chosen(item: pytest.Item, choice: Choice) -> bool:
    """Whether a test is one of those."""
    capabilities = needs(item)
    if any(provider(capability) is Provider.HARDWARE for capability in capabilities):
        return choice is Choice.HARDWARE
    if choice is Choice.KERNEL:
        return bool(capabilities) and "lane" not in capabilities
    lacking = [capability for capability in capabilities if missing(capability)]
    return choice is Choice.WAITING and bool(lacking) and lane_could_run(lacking)
