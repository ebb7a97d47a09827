"""The program as a group of verbs, each built when it is asked for.

Building one takes typer about 3 ms, looking at it for the list of verbs nothing: so `cnm --help` and `cnm version` cost
little more than the import of typer, however many verbs there are.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

import typer
from typer.core import TyperGroup
from typer.models import CommandInfo


class Verbs(Mapping[str, Any]):
    """Name to command. ``settings`` are those of the program, which every verb shares."""

    def __init__(self, registered: Sequence[CommandInfo], settings: dict[str, Any]) -> None:
        self._registered = {_name(info): info for info in registered}
        self._settings = settings
        self._built: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._built:
            one = typer.Typer(add_completion=False, **self._settings)
            one.registered_commands.append(self._registered[name])
            self._built[name] = typer.main.get_command(one)
        return self._built[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._registered)

    def __len__(self) -> int:
        return len(self._registered)

    def families(self) -> Iterator[tuple[str, list[tuple[str, str]]]]:
        """(title, (name, what it does)) in the order in which they were registered."""
        for title, members in groupby(self._registered.items(), key=lambda item: str(item[1].rich_help_panel)):
            yield title, [(name, _summary(info)) for name, info in members if not info.hidden]


def _name(info: CommandInfo) -> str:
    assert info.callback is not None
    return info.name or info.callback.__name__


def _summary(info: CommandInfo) -> str:
    return (inspect.getdoc(info.callback) or "").partition("\n")[0]


def program(registered: Sequence[CommandInfo], settings: dict[str, Any]) -> type[TyperGroup]:
    """The class of a group that has these verbs."""

    class Program(TyperGroup):
        def __init__(self, **attributes: Any) -> None:
            super().__init__(**attributes | {"commands": Verbs(registered, settings)})

        def invoke(self, ctx: Any) -> Any:
            try:
                return super().invoke(ctx)
            except KeyboardInterrupt:  # typer would end with 130 and no word
                raise typer.Abort from None

        def list_commands(self, ctx: Any) -> list[str]:
            return list(self.commands)

        def format_commands(self, ctx: Any, formatter: Any) -> None:
            assert isinstance(self.commands, Verbs)
            widest = max(map(len, self.commands))
            for title, members in self.commands.families():
                with formatter.section(title):
                    formatter.write_dl([(name.ljust(widest), summary) for name, summary in members])

    return Program
