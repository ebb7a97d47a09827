"""The options that keep a person from cutting off the branch they sit on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from reconciler.engine.guard import Guards
    from reconciler.host.probe import Probe

Force = Annotated[
    bool, typer.Option("--force", metavar="", help="Apply although the way to you, or to --keep-reachable, is touched.")
]
KeepReachable = Annotated[
    list[str] | None,
    typer.Option("--keep-reachable", metavar="ADDRESS", help="Refuse what touches the way to this address."),
]
AllowMassDelete = Annotated[
    bool, typer.Option("--allow-mass-delete", metavar="", help="Even if most of our objects would go.")
]
Probes = Annotated[
    list[str] | None,
    typer.Option(
        "--probe",
        metavar="PROBE",
        help="Go back unless this works afterwards: ping:ADDRESS, tcp:HOST:PORT, http(s)://URL, dns:NAME@SERVER, cmd:COMMAND.",
    ),
]
ProbeTimeout = Annotated[
    float, typer.Option("--probe-timeout", metavar="SECONDS", min=1, help="How long probes may take to work.")
]


def guards(force: bool = False, keep_reachable: list[str] | None = None, allow_mass_delete: bool = False) -> Guards:
    from reconciler.engine.guard import Guards

    return Guards(force, tuple(keep_reachable or ()), allow_mass_delete)


def probes(texts: list[str] | None) -> list[Probe]:
    """Raises UsageError."""
    from reconciler.host.probe import parse_probe

    return [parse_probe(text) for text in texts or ()]
