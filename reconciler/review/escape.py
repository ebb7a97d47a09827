"""Text from sandboxes, the kernel and daemons is hostile: made visible before it is shown anywhere."""

from __future__ import annotations

import unicodedata
from html import escape as _html

# Unicode categories that change how the text around them is shown: control, format (bidi overrides among
# them), surrogates, private use, line and paragraph separators.
_HIDDEN = frozenset(("Cc", "Cf", "Cs", "Co", "Zl", "Zp"))


def visible(text: str) -> str:
    """One line; whatever a terminal could take for a command is written as an escape."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_shown(char) if unicodedata.category(char) in _HIDDEN else char for char in text)


def _shown(char: str) -> str:
    code = ord(char)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def markdown(text: str) -> str:
    """Inside a Markdown table cell or paragraph: nothing is markup, nothing ends the cell."""
    return (
        "".join(f"\\{char}" if char in r"\`*_{}[]()<>#+-.!|~@" else char for char in visible(text))
        .replace("\\-", "-")
        .replace("\\.", ".")
    )


def xml(text: str) -> str:
    """As text or attribute value of XML and HTML."""
    return _html(visible(text), quote=True)
