"""YAML text to plain data, with the position of every part. Nothing but ManifestError comes out.

libyaml parses, where ruamel.yaml was installed with it, and only into events. Data is built from them here, event
by event, so that a text that is too large, too deep or multiplied by aliases ends while it is read, not after.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentEndEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from reconciler.errors import ManifestError, Origin, Problem
from reconciler.manifest.scalar import ScalarError, resolve

try:
    from _ruamel_yaml import CParser

    FAST = True
except ImportError:  # ruamel.yaml without its C library: the same, several times slower
    FAST = False

_NodeStart = ScalarEvent | MappingStartEvent | SequenceStartEvent
Path = tuple[str | int, ...]
Place = tuple[int, int]  # line and column, from 1
Positions = Mapping[Path, Place]

MAX_DEPTH = 64
MAX_NODES = 500_000  # keys and values of one text, aliases counted as often as they are used
MAX_ALIAS_NODES = 100_000  # of those, how many may come from aliases
MAX_PROBLEMS = 100  # in one text; nobody reads more

# Characters that YAML 1.2 (5.1) keeps out of a stream, and those that let a line look like another one in an
# editor: C1 controls, line and paragraph separators, bidirectional overrides, byte order marks.
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ufeff\ufffe\uffff]")
_NO_KEY = object()  # a mapping that waits for its next key
_DROPPED = object()  # the key was refused: its value is read, and goes nowhere


class RawDocument(Struct, frozen=True):
    """``data`` as JSON has it, ``nodes`` how many keys and values it holds; ``line`` and ``column`` where it begins.

    ``positions`` of a key's value is where a scalar stands, of a list or mapping where its key does. ``keys`` has the
    places of the keys of scalars.
    """

    data: Any
    positions: Positions
    keys: Positions
    line: int
    column: int
    nodes: int


def read_documents(raw: bytes, file: str) -> list[RawDocument]:
    """All documents of a text, empty ones left out. Raises ManifestError."""
    stream = read_stream(raw, file)
    if stream.problems:
        raise ManifestError(stream.problems)
    return stream.documents


class RawStream(Struct, frozen=True):
    """The documents of a text that can be made out, empty ones left out, and all that is wrong. ``whole``: it was read
    to its end. A key that was refused is left out of its document, of a key written twice the first one counts."""

    documents: list[RawDocument]
    problems: list[Problem]
    whole: bool


def read_stream(raw: bytes, file: str) -> RawStream:
    """Raises nothing."""
    composer = _Composer(file)
    try:
        composer.read(_events(_decoded(raw)))
    except _EndError as end:
        composer.problems.append(Problem(Origin(file, *end.place), end.message, end.hint))
        return RawStream(composer.documents, composer.problems, whole=False)
    return RawStream(composer.documents, composer.problems, whole=True)


class _EndError(Exception):
    """There is no sense in reading on."""

    def __init__(self, place: Place, message: str, hint: str = "") -> None:
        self.place, self.message, self.hint = place, message, hint


def _decoded(raw: bytes) -> str:
    raw = raw.removeprefix(b"\xef\xbb\xbf")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        before = raw[: error.start].decode("utf-8")
        raise _EndError(_place(before), "this is not UTF-8", "save the file as UTF-8") from None
    found = _FORBIDDEN.search(text)
    if found:
        message = f"the character U+{ord(found.group()):04X} is not allowed"
        raise _EndError(_place(text[: found.start()]), message, "remove it, or write it as an escape in quotes")
    return text


def _place(before: str) -> Place:
    return before.count("\n") + 1, len(before) - before.rfind("\n")


def _events(text: str) -> Iterator[Event]:
    try:
        if FAST:
            parser = CParser(text)
            while parser.check_event():
                yield parser.get_event()
        else:
            yield from YAML(typ="safe", pure=True).parse(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        words = " ".join(part for part in (error.context, error.problem) if part)
        place = (mark.line + 1, mark.column + 1) if mark is not None else (0, 0)
        raise _EndError(place, f"not valid YAML: {words}", _advice(words)) from None
    except (YAMLError, ValueError, LookupError, AssertionError, AttributeError, TypeError, RecursionError) as error:
        # What the pure parser trips over besides its own errors is the text's fault all the same.
        words = (str(error) or type(error).__name__).splitlines()[0]
        raise _EndError((0, 0), f"not valid YAML: {words}") from None


def _advice(words: str) -> str:
    if "'\\t'" in words or "tab" in words:
        return "indent with spaces, never with tabs"
    if "mapping values are not allowed" in words:
        return "put quotes around a value that contains ': '"
    if "cannot start any token" in words:
        return "put quotes around a value that begins with '@', '`' or '%'; indent with spaces, never with tabs"
    if "directive" in words or "incompatible YAML" in words:
        return "remove the line that begins with %: manifests are YAML 1.2"
    return ""


class _Frame(Struct):
    """A list or mapping that is being read. ``path`` is None where nobody will ask for positions."""

    value: Any
    path: Path | None
    anchor: str | None
    before: int  # nodes counted before it
    key: Any = _NO_KEY
    key_place: Place = (0, 0)
    height: int = 1


class _Composer:
    """Events to documents. Its stack is a list, so that no text can exhaust Python's."""

    def __init__(self, file: str) -> None:
        self.documents: list[RawDocument] = []
        self.problems: list[Problem] = []
        self._file = file
        self._paths: dict[Path, Path] = {}
        self._nodes = 0
        self._aliased = 0
        self._begin()

    def wrong(self, place: Place, message: str, hint: str = "") -> None:
        self.problems.append(Problem(Origin(self._file, *place), message, hint))
        if len(self.problems) == MAX_PROBLEMS:
            raise _EndError(place, f"{MAX_PROBLEMS} problems in this file; reading stops here")

    def _begin(self) -> None:
        self._root: Any = None
        self._positions: dict[Path, Place] = {}
        self._keys: dict[Path, Place] = {}
        self._frames: list[_Frame] = []
        self._anchors: dict[str, tuple[Any, int, int] | None] = {}  # value, nodes, height; None: still open
        self._first = self._nodes

    def read(self, events: Iterator[Event]) -> None:
        for event in events:
            mark = event.start_mark
            place = (mark.line + 1, mark.column + 1)
            match event:
                case ScalarEvent():
                    self._scalar(event, place)
                case MappingStartEvent():
                    self._open(event, {}, place)
                case SequenceStartEvent():
                    self._open(event, [], place)
                case MappingEndEvent() | SequenceEndEvent():
                    self._close()
                case AliasEvent():
                    self._alias(event.anchor, place)
                case DocumentStartEvent():
                    self._begin()
                    self._check_directives(event, place)
                case DocumentEndEvent() if self._root is not None:
                    start = self._positions[()]
                    nodes = self._nodes - self._first
                    self.documents.append(RawDocument(self._root, self._positions, self._keys, *start, nodes))

    def _check_directives(self, event: DocumentStartEvent, place: Place) -> None:
        if event.version not in (None, (1, 2)):
            name = f"YAML {'.'.join(map(str, event.version))}"
        elif event.tags:
            name = "TAG"
        else:
            return
        self.wrong(place, f"the directive %{name} is not allowed", "remove it: manifests are YAML 1.2")

    def _count(self, nodes: int, place: Place) -> None:
        self._nodes += nodes
        if self._nodes > MAX_NODES:
            raise _EndError(place, f"more than {MAX_NODES:,} keys and values in one file", "split it")

    def _check_tag(self, event: _NodeStart, place: Place) -> None:
        if event.tag is not None:
            shown = str(event.tag).replace("tag:yaml.org,2002:", "!!")
            self.wrong(place, f"the tag {_short(shown)} is not allowed", "remove it")

    def _scalar(self, event: ScalarEvent, place: Place) -> None:
        self._count(1, place)
        if event.tag is not None:
            self._check_tag(event, place)
        value: Any = event.value
        if event.style not in ("'", '"', "|", ">"):
            if value == "<<" and self._wants_key():
                self.wrong(place, "merge keys (<<) are not part of YAML 1.2", "write the keys out")
                self._frames[-1].key = _DROPPED
                return
            try:
                value = resolve(value)
            except ScalarError as error:
                self.wrong(place, str(error), error.hint)
        if event.anchor is not None:
            self._anchors[event.anchor] = (value, 1, 0)
        if self._wants_key():
            self._key(value, event.value, place)
        else:
            self._put(value, place, place)

    def _wants_key(self) -> bool:
        return bool(self._frames) and self._frames[-1].key is _NO_KEY and isinstance(self._frames[-1].value, dict)

    def _key(self, key: Any, shown: str, place: Place) -> None:
        frame = self._frames[-1]
        frame.key, frame.key_place = _DROPPED, place
        if not isinstance(key, str):
            self.wrong(place, f"the key {shown or 'null'} is not a string", "put it in quotes")
        elif key in frame.value:
            first = self._positions.get((*frame.path, key)) if frame.path is not None else None
            said = f" (first in line {first[0]})" if first else ""
            self.wrong(place, f"key '{_short(key)}' is written twice{said}", "remove one of them")
        else:
            frame.key = key

    def _put(self, value: Any, place: Place, shown_at: Place | None) -> Path | None:
        """Store a value where it belongs and give its path. ``shown_at`` None: where its key stands."""
        if not self._frames:
            self._root = value
            self._positions[()] = place
            return ()
        frame = self._frames[-1]
        if isinstance(frame.value, list):
            last: Any = len(frame.value)
            frame.value.append(value)
            shown_at = place
        else:
            last, frame.key = frame.key, _NO_KEY
            if last is _DROPPED:
                return None
            frame.value[last] = value
        if frame.path is None:
            return None
        whole = (*frame.path, last)
        path = self._paths.setdefault(whole, whole)  # many documents of a text are alike
        self._positions[path] = shown_at or frame.key_place
        if shown_at is not None and isinstance(last, str):
            self._keys[path] = frame.key_place
        return path

    def _open(self, event: _NodeStart, value: Any, place: Place) -> None:
        before = self._nodes
        self._count(1, place)
        if event.tag is not None:
            self._check_tag(event, place)
        if len(self._frames) >= MAX_DEPTH:
            raise _EndError(place, f"nested more than {MAX_DEPTH} levels deep", "write it flatter")
        if self._wants_key():
            self.wrong(place, "a list or mapping cannot be a key", "write a string, or indent what belongs below a key")
            self._frames[-1].key = _DROPPED
            path = None
        else:
            path = self._put(value, place, None)  # for people a list begins at its key
        if event.anchor is not None:
            self._anchors[event.anchor] = None
        self._frames.append(_Frame(value, path, event.anchor, before))

    def _close(self) -> None:
        frame = self._frames.pop()
        if frame.anchor is not None:
            self._anchors[frame.anchor] = (frame.value, self._nodes - frame.before, frame.height)
        if self._frames:
            self._frames[-1].height = max(self._frames[-1].height, frame.height + 1)

    def _alias(self, name: str, place: Place) -> None:
        if name not in self._anchors:
            raise _EndError(place, f"there is no anchor &{_short(name)} before this alias", "define it with &name")
        anchored = self._anchors[name]
        if anchored is None:
            raise _EndError(place, f"alias *{_short(name)} contains itself", "write the value out")
        value, nodes, height = anchored
        self._aliased += nodes
        if self._aliased > MAX_ALIAS_NODES:
            raise _EndError(place, "aliases multiply into too many values", "write the values out")
        if len(self._frames) + height > MAX_DEPTH:
            raise _EndError(place, f"nested more than {MAX_DEPTH} levels deep", "write it flatter")
        self._count(nodes, place)
        if self._wants_key():
            shown = "of a list or mapping" if height else str(value)
            self._key(value, shown, place)
            return
        self._put(_copied(value), place, None)
        if self._frames:
            self._frames[-1].height = max(self._frames[-1].height, height + 1)


def _copied(value: Any) -> Any:
    """A patch of one use of an alias must not change the others. No deeper than MAX_DEPTH."""
    if isinstance(value, dict):
        return {key: _copied(child) for key, child in value.items()}
    if isinstance(value, list):
        return [_copied(child) for child in value]
    return value


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."
