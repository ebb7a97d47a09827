"""YAML text to plain data, with the position of every part. Nothing but ManifestError comes out.

libyaml parses (where ruamel.yaml was installed with it), and only into nodes: what a scalar means, what an
alias may cost, and what is refused is decided here, by YAML 1.2's core schema.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reconciler.errors import ManifestError, Origin, Problem

try:
    from _ruamel_yaml import CParser

    class _Parser(CParser):  # type: ignore[misc]  # a C class without types
        """libyaml's composer. What a scalar means is not its business: nothing is resolved here."""

        def descend_resolver(self, current_node: Any, current_index: Any) -> None: ...

        def ascend_resolver(self) -> None: ...

        def resolve(self, kind: Any, value: Any, implicit: Any) -> str:
            return ""

    FAST = True
except ImportError:  # ruamel.yaml without its C library: the same, several times slower
    FAST = False

Path = tuple[str | int, ...]
Positions = Mapping[Path, tuple[int, int]]

MAX_DEPTH = 64
MAX_NODES = 2_000_000  # per file, aliases counted as often as they are used
MAX_ALIAS_NODES = 100_000  # of those, how many may come from aliases

_NULL = frozenset(("", "~", "null", "Null", "NULL"))
_TRUE, _FALSE = frozenset(("true", "True", "TRUE")), frozenset(("false", "False", "FALSE"))
_INT = re.compile(r"[-+]?[0-9]+\Z")
_OCTAL, _HEX = re.compile(r"0o[0-7]+\Z"), re.compile(r"0x[0-9a-fA-F]+\Z")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z")
_SPECIAL = re.compile(r"[-+]?\.(inf|Inf|INF)\Z|\.(nan|NaN|NAN)\Z")
_DIRECTIVE = re.compile(rb"^%([A-Za-z]+)[ \t]+([^\r\n#]*)", re.MULTILINE)
_STANDARD_TAGS = "tag:yaml.org,2002:"


@dataclass(frozen=True, slots=True)
class RawDocument:
    """``data`` as JSON has it; ``line`` and ``column`` where it begins, from 1."""

    data: Any
    positions: Positions
    line: int
    column: int


class _FaultError(Exception):
    def __init__(self, message: str, hint: str = "", line: int = 0, column: int = 0) -> None:
        super().__init__(message)
        self.message, self.hint, self.line, self.column = message, hint, line, column


def read_documents(raw: bytes, file: str) -> list[RawDocument]:
    """All documents of a text, empty ones left out. Raises ManifestError."""
    try:
        return _read(_decoded(raw))
    except _FaultError as fault:
        raise ManifestError(
            [Problem(Origin(file=file, line=fault.line, column=fault.column), fault.message, fault.hint)]
        ) from None
    except RecursionError:
        raise ManifestError([Problem(Origin(file=file), f"nested more than {MAX_DEPTH} levels deep")]) from None


def _decoded(raw: bytes) -> str:
    raw = raw.removeprefix(b"\xef\xbb\xbf")
    for match in _DIRECTIVE.finditer(raw):
        line = raw.count(b"\n", 0, match.start()) + 1
        name, value = match.group(1).decode(), match.group(2).strip().decode("utf-8", "replace")
        if _inside_text(raw, match.start()):
            continue
        if name != "YAML" or value != "1.2":
            raise _FaultError(
                f"the directive %{name} {value} is not allowed", "remove it: manifests are YAML 1.2", line, 1
            )
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise _FaultError(
            "this is not UTF-8", "save the file as UTF-8", line, error.start - raw.rfind(b"\n", 0, error.start)
        ) from None
    for found in _FORBIDDEN.finditer(text):
        line = text.count("\n", 0, found.start()) + 1
        column = found.start() - text.rfind("\n", 0, found.start())
        raise _FaultError(
            f"the character U+{ord(found.group()):04X} is not allowed",
            "remove it, or write it as an escape in quotes",
            line,
            column,
        )
    return text


# YAML 1.2, 5.1: what may stand in a stream; and what would let a line look like another in an editor.
_FORBIDDEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\x80-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff\u202a-\u202e\u2066-\u2069]"
)


def _inside_text(raw: bytes, at: int) -> bool:
    """A line that begins with % is a directive only before a document: after a document's start it is content."""
    before = raw[:at].rstrip()
    if not before:
        return False
    for line in reversed(before.splitlines()):
        if line.lstrip().startswith((b"#", b"%")):
            continue
        return not line.rstrip().startswith(b"...")
    return False


def _read(text: str) -> list[RawDocument]:
    documents = []
    for node in _nodes(text):
        builder = _Builder()
        data = builder.build(node, (), 0)
        if data is None:
            continue
        line, column = builder.positions[()]
        documents.append(RawDocument(data, builder.positions, line, column))
    return documents


def _nodes(text: str) -> Any:
    """The root node of each document."""
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        if FAST:
            parser = _Parser(text)
            while parser.check_node():
                yield parser.get_node()
        else:
            from ruamel.yaml import YAML

            yield from YAML(typ="safe", pure=True).compose_all(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        words = " ".join(filter(None, (error.context, error.problem)))
        line, column = (mark.line + 1, mark.column + 1) if mark is not None else (0, 0)
        raise _FaultError(f"not valid YAML: {words}", _advice(words), line, column) from None
    except (YAMLError, ValueError) as error:
        raise _FaultError(f"not valid YAML: {str(error).splitlines()[0] if str(error) else error!r}") from None


def _advice(words: str) -> str:
    if "'\\t'" in words or "tab" in words:
        return "indent with spaces, never with tabs"
    if "mapping values are not allowed" in words:
        return "put quotes around a value that contains ': '"
    if "undefined alias" in words:
        return "define it before with &name"
    return ""


class _Builder:
    """One document's nodes to data. Counts what it builds: an alias is paid for each time it is used."""

    def __init__(self) -> None:
        self.positions: dict[Path, tuple[int, int]] = {}
        self._count = 0
        self._aliased = 0
        self._open: set[int] = set()
        self._seen: set[int] = set()

    def build(self, node: Any, path: Path, depth: int) -> Any:
        mark = node.start_mark
        line, column = mark.line + 1, mark.column + 1
        self._count += 1
        if self._count > MAX_NODES:
            raise _FaultError(f"more than {MAX_NODES:,} values in one document", "split it", line, column)
        kind = type(node).__name__
        if kind == "ScalarNode":
            self.positions[path] = (line, column)
            return _scalar(node, line, column)
        if depth >= MAX_DEPTH:
            raise _FaultError(f"nested more than {MAX_DEPTH} levels deep", "", line, column)
        identity = id(node)
        if identity in self._open:
            raise _FaultError("an alias that contains itself", "write the value out", line, column)
        again = identity in self._seen
        self._seen.add(identity)
        before = self._count
        self._open.add(identity)
        self.positions[path] = (line, column)
        _check_tag(node, kind, line, column)
        value = self._mapping(node, path, depth) if kind == "MappingNode" else self._sequence(node, path, depth)
        self._open.discard(identity)
        if again:
            self._aliased += self._count - before + 1
            if self._aliased > MAX_ALIAS_NODES:
                raise _FaultError("aliases multiply into too many values", "write the values out", line, column)
        return value

    def _sequence(self, node: Any, path: Path, depth: int) -> list[Any]:
        return [self.build(item, (*path, number), depth + 1) for number, item in enumerate(node.value)]

    def _mapping(self, node: Any, path: Path, depth: int) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        for key_node, value_node in node.value:
            mark = key_node.start_mark
            line, column = mark.line + 1, mark.column + 1
            key = _scalar(key_node, line, column) if type(key_node).__name__ == "ScalarNode" else None
            if key_node.value == "<<" and not key_node.style:
                raise _FaultError("merge keys (<<) are not part of YAML 1.2", "write the keys out", line, column)
            if not isinstance(key, str):
                shown = key_node.value if type(key_node).__name__ == "ScalarNode" else "a list or mapping"
                raise _FaultError(f"the key {shown} is not a string", "put it in quotes", line, column)
            if key in mapping:
                first = self.positions[(*path, key)]
                raise _FaultError(
                    f"key {key!r} is written twice (first in line {first[0]})", "remove one of them", line, column
                )
            where = (*path, key)
            mapping[key] = self.build(value_node, where, depth + 1)
            # For people the key is the place, also where its value begins on the next line or in an anchor elsewhere.
            self.positions[where] = (
                (line, column) if type(value_node).__name__ != "ScalarNode" else self.positions[where]
            )
        return mapping


def _check_tag(node: Any, kind: str, line: int, column: int) -> None:
    tag = str(node.tag or "")
    expected = "map" if kind == "MappingNode" else "seq"
    if tag not in ("", "!", f"{_STANDARD_TAGS}{expected}", f"!!{expected}"):
        raise _FaultError(f"the tag {tag} is not allowed", "remove it", line, column)


def _scalar(node: Any, line: int, column: int) -> Any:
    """A scalar by the core schema of YAML 1.2: no yes/no, no octal 010, no sexagesimal, no dates."""
    value: str = node.value
    tag = str(node.tag or "")
    quoted = bool(node.style) and node.style in "'\"|>"
    plain_tags = ("", "!", "tag:yaml.org,2002:str")
    if tag not in plain_tags and not (not quoted and tag.startswith(_STANDARD_TAGS)):
        raise _FaultError(f"the tag {tag} is not allowed", "remove it", line, column)
    if quoted:
        return value
    if value in _NULL:
        return None
    if value in _TRUE:
        return True
    if value in _FALSE:
        return False
    if len(value) > 64:
        return value
    if _INT.match(value) or _OCTAL.match(value) or _HEX.match(value):
        base = 8 if value.startswith("0o") else 16 if value.startswith("0x") else 10
        digits = value[2:] if base != 10 else value
        number = int(digits, base)
        if not -(1 << 63) <= number < 1 << 64:
            raise _FaultError(f"{value} does not fit into 64 bits", "put it in quotes if it is a string", line, column)
        return number
    if _FLOAT.match(value):
        real = float(value)
        if real in (float("inf"), float("-inf")):
            raise _FaultError(f"{value} is too large for a number", "put it in quotes if it is a string", line, column)
        return real
    if _SPECIAL.match(value):
        raise _FaultError(
            f"{value} is not a number that means anything here", "put it in quotes if it is a string", line, column
        )
    return value
