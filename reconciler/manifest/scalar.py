"""What a plain scalar means: the core schema of YAML 1.2 (chapter 10.3), without values that JSON has no word for."""

from __future__ import annotations

import re

Scalar = str | int | float | bool | None

_CONSTANTS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_SPECIAL = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_BASES = {"0o": 8, "0x": 16}
_LONGEST_NUMBER = 64
_QUOTE = "put it in quotes if it is a string"


class ScalarError(ValueError):
    """A number that cannot be carried on; ``hint`` says what to write."""

    hint = _QUOTE


def resolve(text: str) -> Scalar:
    """The value of a scalar without quotes. ``yes``, dates and ``1:30`` are strings, ``010`` is ten. Raises ScalarError."""
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if text[0] not in "+-.0123456789" or len(text) > _LONGEST_NUMBER:
        return text
    if _INTEGER.fullmatch(text):
        base = _BASES.get(text[:2], 10)
        number = int(text if base == 10 else text[2:], base)
        if not -(1 << 63) <= number < 1 << 64:
            raise ScalarError(f"{text} does not fit into 64 bits")
        return number
    if _FLOAT.fullmatch(text):
        real = float(text)
        if real in (float("inf"), float("-inf")):
            raise ScalarError(f"{text} is too large for a number")
        return real
    if _SPECIAL.fullmatch(text):
        raise ScalarError(f"{text} is not a number that means anything here")
    return text
