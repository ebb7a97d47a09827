"""The selector language: which labels something has.

::

    selector  = and-part { "||" and-part }
    and-part  = unary { "&&" unary }
    unary     = "!" unary | "(" selector ")" | "all()" | "has(" key ")" | test
    test      = key ( "==" | "!=" ) value | key [ "not" ] "in" "{" [ value { "," value } ] "}"
                | key ( "contains" | "starts" "with" | "ends" "with" ) value
    key       = a label's name: letters, digits, "_", "-", ".", "/"
    value     = anything in single or double quotes

The words are those of Calico's selectors, so that its users write nothing new. A label that is absent equals
nothing: ``a != "x"`` and ``a not in {...}`` hold without ``a``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache

from msgspec import Struct

Labels = Mapping[str, str]

MAX_LENGTH = 4096
MAX_DEPTH = 64

_TOKEN = re.compile(
    r"""\s*(?:(?P<op>==|!=|&&|\|\||[!(){},])|(?P<string>"[^"]*"|'[^']*')|(?P<word>[A-Za-z0-9_][A-Za-z0-9_./-]*))"""
)


class SelectorError(ValueError):
    """``offset`` is the character, counted from 0, at which the text stops making sense."""

    def __init__(self, text: str, offset: int, said: str) -> None:
        self.text, self.offset, self.said = text, offset, said
        super().__init__(f"{said} at character {offset + 1} of {_excerpt(text, offset)}")


def _excerpt(text: str, offset: int) -> str:
    """The neighbourhood with a mark before the character: ``app >>= 'web'``."""
    first, last = max(0, offset - 24), offset + 24
    shown = f"{text[first:offset]}>>{text[offset:last]}"
    return f"{'...' if first else ''}{shown}{'...' if last < len(text) else ''}"


class Selector(Struct, frozen=True):
    """A parsed selector. ``text`` is canonical: two spellings of one selector have the same."""

    text: str
    matches: Callable[[Labels], bool]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Selector) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)


@lru_cache(maxsize=4096)
def parse(text: str) -> Selector:
    """Raises SelectorError. The empty text selects everything, as ``all()`` does."""
    if len(text) > MAX_LENGTH:
        raise SelectorError(text, MAX_LENGTH, f"a selector has at most {MAX_LENGTH:,} characters: it is too long")
    return _Parser(text).parse()


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens: list[tuple[str, str, int]] = []  # kind, text, offset
        at = 0
        while text[at:].strip():
            found = _TOKEN.match(text, at)
            if found is None:
                start = at + len(text[at:]) - len(text[at:].lstrip())
                raise self._meaningless(text[start], start)
            kind = str(found.lastgroup)
            self._tokens.append((kind, found[kind], found.start(kind)))
            at = found.end()
        self._tokens.append(("end", "", len(text)))
        self._next = 0
        self._depth = 0

    def _meaningless(self, character: str, start: int) -> SelectorError:
        hints = {
            "=": "write '==' to compare",
            "&": "write '&&' for 'and'",
            "|": "write '||' for 'or'",
            '"': "this quote is not closed",
            "'": "this quote is not closed",
        }
        return SelectorError(self._text, start, hints.get(character, f"{character!r} has no meaning here"))

    def parse(self) -> Selector:
        if self._tokens[0][0] == "end":
            return Selector("all()", lambda labels: True)
        found = self._or()
        kind, token, offset = self._tokens[self._next]
        if kind != "end":
            raise SelectorError(self._text, offset, f"expected '&&', '||' or the end, found {token!r}")
        return found

    # -- tokens --------------------------------------------------------------------------------------------

    def _peek(self) -> tuple[str, str, int]:
        return self._tokens[self._next]

    def _take(self) -> tuple[str, str, int]:
        token = self._tokens[self._next]
        self._next += 1
        return token

    def _accept(self, token: str) -> bool:
        if self._peek()[:2] in (("op", token), ("word", token)):
            self._next += 1
            return True
        return False

    def _expect(self, token: str) -> None:
        if not self._accept(token):
            raise self._expected(repr(token))

    def _expected(self, what: str) -> SelectorError:
        kind, token, offset = self._peek()
        return SelectorError(
            self._text, offset, f"expected {what}, found {'the end' if kind == 'end' else repr(token)}"
        )

    def _value(self) -> str:
        kind, token, _offset = self._peek()
        if kind != "string":
            raise self._expected("a value in quotes")
        self._next += 1
        return token[1:-1]

    # -- grammar -------------------------------------------------------------------------------------------

    def _or(self) -> Selector:
        return self._joined("||", self._and, any)

    def _and(self) -> Selector:
        return self._joined("&&", self._unary, all)

    def _joined(self, operator: str, part: Callable[[], Selector], rule: Callable[[list[bool]], bool]) -> Selector:
        parts = [part()]
        while self._accept(operator):
            parts.append(part())
        if len(parts) == 1:
            return parts[0]
        tests = tuple(found.matches for found in parts)
        text = f"({f' {operator} '.join(found.text for found in parts)})"
        if rule is all:
            return Selector(text, lambda labels: all(test(labels) for test in tests))
        return Selector(text, lambda labels: any(test(labels) for test in tests))

    def _unary(self) -> Selector:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise SelectorError(self._text, self._peek()[2], f"more than {MAX_DEPTH} levels of '!' and '('")
        try:
            if self._accept("!"):
                inner = self._unary()
                test = inner.matches
                return Selector(f"!{inner.text}", lambda labels: not test(labels))
            if self._accept("("):
                inner = self._or()
                self._expect(")")
                return inner
            return self._test()
        finally:
            self._depth -= 1

    def _test(self) -> Selector:
        kind, key, offset = self._peek()
        if kind != "word":
            raise self._expected("a label, has(LABEL), all(), '!' or '('")
        self._next += 1
        if self._peek()[1] == "(" and self._peek()[0] == "op":
            return self._call(key, offset)
        if self._accept("=="):
            value = self._value()
            return Selector(f"{key} == {_quoted(value)}", lambda labels: labels.get(key) == value)
        if self._accept("!="):
            value = self._value()
            return Selector(f"{key} != {_quoted(value)}", lambda labels: labels.get(key) != value)
        if self._accept("in"):
            values = self._values()
            return Selector(f"{key} in {_braces(values)}", lambda labels: labels.get(key) in values)
        if self._accept("not"):
            self._expect("in")
            values = self._values()
            return Selector(f"{key} not in {_braces(values)}", lambda labels: labels.get(key) not in values)
        if self._accept("contains"):
            value = self._value()
            return Selector(f"{key} contains {_quoted(value)}", lambda labels: key in labels and value in labels[key])
        for word in ("starts", "ends"):
            if self._accept(word):
                self._expect("with")
                return _affix(key, word, self._value())
        raise self._expected("'==', '!=', 'in' or 'not in'")

    def _call(self, name: str, offset: int) -> Selector:
        self._expect("(")
        if name == "has":
            kind, key, _at = self._peek()
            if kind != "word":
                raise self._expected("a label's name")
            self._next += 1
            self._expect(")")
            return Selector(f"has({key})", lambda labels: key in labels)
        if name != "all":
            raise SelectorError(self._text, offset, f"there is no {name}(): there are has(LABEL) and all()")
        self._expect(")")
        return Selector("all()", lambda labels: True)

    def _values(self) -> frozenset[str]:
        self._expect("{")
        values: list[str] = []
        while not self._accept("}"):
            if values:
                self._expect(",")
            values.append(self._value())
        return frozenset(values)


def _affix(key: str, word: str, value: str) -> Selector:
    text = f"{key} {word} with {_quoted(value)}"
    if word == "starts":
        return Selector(text, lambda labels: key in labels and labels[key].startswith(value))
    return Selector(text, lambda labels: key in labels and labels[key].endswith(value))


def _quoted(value: str) -> str:
    return f"'{value}'" if '"' in value else f'"{value}"'


def _braces(values: frozenset[str]) -> str:
    return "{" + ", ".join(_quoted(value) for value in sorted(values)) + "}"
