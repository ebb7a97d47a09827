"""Text from sandboxes, the kernel and daemons is hostile: made visible before it is shown anywhere."""

from __future__ import annotations

import re
import unicodedata
from html import escape as _html

# Unicode categories that change how the text around them is shown: control, format (bidi overrides among
# them), surrogates, private use, line and paragraph separators.
_HIDDEN = frozenset(("Cc", "Cf", "Cs", "Co", "Zl", "Zp"))

_MARKUP = frozenset(r"\`*_{}[]()<>#+!|~@&=$")
_BLOCK = re.compile(r"\A(\s*\d*)([-.)])")  # what would begin a list, a heading or a rule
_AUTOLINK = re.compile(r"(?i)(:|\bwww)(//|\.)")  # GitHub's and GitLab's extension: bare addresses are links
_TICKS = re.compile("`+")


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
    """Inside a Markdown table cell or paragraph: nothing is markup, an entity or a link, nothing ends the cell."""
    shown = "".join(f"\\{char}" if char in _MARKUP else char for char in visible(text).strip())
    return _AUTOLINK.sub(r"\1\\\2", _BLOCK.sub(r"\1\\\2", shown))


def code(text: str, *, cell: bool = False) -> str:
    """As a Markdown code span, in which nobody is mentioned and nothing linked. ``cell``: inside a table."""
    shown = visible(text).replace("|", "\\|") if cell else visible(text)
    fence = "`" * (max((len(run) for run in _TICKS.findall(shown)), default=0) + 1)
    pad = " " if shown[:1] in " `" or shown[-1:] in " `" else ""
    return f"{fence}{pad}{shown}{pad}{fence}" if shown.strip() else ""


def xml(text: str) -> str:
    """As text or attribute value of XML and HTML."""
    return _html(visible(text), quote=True)
