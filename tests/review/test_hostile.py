"""Names, comments and error texts come from sandboxes, kernels and daemons: none of them speaks in our voice."""

from __future__ import annotations

import html
import re
import unicodedata
from io import StringIO
from xml.etree import ElementTree as ET

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from msgspec.structs import replace
from rich.console import Console

from reconciler.engine.result import Check, Explanation, Report, State, Status, StatusRow
from reconciler.errors import ActuationError, Origin, Problem
from reconciler.host.bgp import BgpRoute, Routes
from reconciler.planner.plan import Action, Batch, Observation, Op, Pending, Plan
from reconciler.resources.link import Link
from reconciler.resources.resource import Key, Observed
from reconciler.review import terminal
from reconciler.review.escape import code, markdown, visible, xml
from reconciler.review.graph import dot, mermaid, svg
from reconciler.review.markdown import plan_markdown
from reconciler.topology.view import Topology
from tests.topology.scene import endpoint, network, world

WORST = [
    "\x1b[2J\x1b[31mgone", "\x9b2J", "a\rb", "a\nb\n\n# c", "tab\there", "\x00", "\x7f", "\u202egnp.exe", "\u2066x\u2069", "\u2028",
    "\ufeff", "</svg><script>alert(1)</script>", "<img src=x onerror=alert(1)>", "]]>", "<!--", "&#x202e;&lt;", "&amp;",
    "`a` ``b``", "`", "a|b", "\\|", "\\", "[x](javascript:alert(1))", "![x](//evil)", "<https://evil.example>",
    "https://evil.example", "www.evil.example", "**bold**", "_em_", "~~no~~", "- item", "1. item", "2) item", "---",
    "# title", "> quote", "    code", '"; }', '"]; x', "a -- b", "--|x|-->", "#quot;", "%%{init}%%", "@everyone", "$x$",
    "\ud800", "[red]x[/red]", ":bomb:",
]  # fmt: skip
hostile = st.one_of(st.sampled_from(WORST), st.text(), st.tuples(st.sampled_from(WORST), st.text()).map("".join))

settings.register_profile("review", deadline=None, max_examples=80, suppress_health_check=list(HealthCheck))
settings.load_profile("review")


def hidden(text: str) -> set[str]:
    """Characters that change how the text around them is shown."""
    return {char for char in text if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")} - {"\n"}


def plan(text: str) -> Plan:
    """A plan in which everything is hostile that a host or a stranger's plan file could make so."""
    key = Key("link", text, text)
    origin = Origin(file=text, line=1, document=text, driver=text)
    link = Link(key=key, origin=origin, type=text, master=text)
    before = replace(link, type="veth", master="")
    problem = Problem(origin, text, text)
    ops = (
        Op(f"create:{text}", Action.CREATE, key, after=link, reason=text, origin=origin),
        Op(f"update:{text}", Action.UPDATE, key, before=before, after=link, reason=text, also_removes=(key,)),
        Op(f"delete:{text}", Action.DELETE, key, before=before, reason=text, also_removes=(key,)),
    )
    pending = Pending(key, text, origin)
    return Plan(text, text, ((Batch("link", ops),),), (key,), (problem,), (problem,), (pending,))


def topology(interface: str) -> Topology:
    found = world(network("a-b", "10.1.0.0/24", "fd01::/64"), network("c", allowFrom=["a-b"]), endpoint("x--y", "a-b"))
    first, *rest = found.topology.networks
    renamed = replace(first, endpoints=(replace(first.endpoints[0], interface=interface),))
    return replace(found.topology, networks=(renamed, *rest))


def screens(text: str, console: Console) -> None:
    """Everything that is ever shown on a terminal."""
    made = plan(text)
    key = next(made.ops()).key
    link = next(made.ops()).resource
    row = StatusRow("Endpoint", text, State.DRIFTED, (text,), {text: text}, Origin(file=text))
    route = BgpRoute(text, text, text, as_path=text, communities=(text,))
    session = replace(row, kind="Session", routes=Routes((route,), (route,), True, True))
    failed = ActuationError(text, text, 5, text)
    for verbose in (False, True):
        terminal.show_plan(console, made, verbose=verbose)
        terminal.show_report(console, Report(made, (), (failed,), tuple(made.ops()), (text,)), verbose=verbose)
        terminal.show_status(
            console, Status(text, text, (row, session), (key,), made.warnings, (text,)), verbose=verbose
        )
    terminal.show_diff(console, made)
    terminal.show_checks(console, [Check(text, "error", text, text)])
    terminal.show_observation(console, Observation({key: Observed(link, text, None)}))
    terminal.show_explanation(
        console, Explanation(key, link, link, text, State.OK, ("mtu",), (key,), (key,), (link.origin,))
    )


@given(hostile)
def test_a_terminal_gets_no_commands(text: str) -> None:
    console = Console(
        file=StringIO(),
        force_terminal=True,
        color_system="standard",
        markup=False,
        emoji=False,
        highlight=False,
        width=300,
    )
    screens(text, console)
    assert isinstance(console.file, StringIO)
    ours = re.compile(r"\x1b\[[0-9;]*m")
    assert not hidden(ours.sub("", console.file.getvalue()))
    plain = Console(file=StringIO(), color_system=None, markup=False, emoji=False, highlight=False, width=300)
    screens(text, plain)
    assert isinstance(plain.file, StringIO)
    assert "\x1b" not in plain.file.getvalue()


@given(hostile)
def test_a_review_comment_holds_no_foreign_markup(text: str) -> None:
    comment = plan_markdown(plan(text))
    assert not hidden(html.unescape(MarkdownIt().enable("table").render(comment)))
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(comment)
    inline = [child for token in tokens for child in token.children or ()]
    kinds = {token.type for token in (*tokens, *inline)}
    assert not kinds & {
        "link_open",
        "image",
        "s_open",
        "fence",
        "code_block",
        "blockquote_open",
        "hr",
        "ordered_list_open",
    }
    assert {token.content for token in inline if token.type == "html_inline"} <= {"<br>"}
    for token in tokens:
        if token.type == "html_block":
            assert set(re.findall(r"<[^>]*>", token.content)) <= {"<details>", "<summary>", "</summary>", "</details>"}
    benign = MarkdownIt("commonmark").enable("table").parse(plan_markdown(plan("x")))
    assert [t.type for t in tokens if t.type == "tr_open"] == [t.type for t in benign if t.type == "tr_open"]
    assert [t.tag for t in tokens if t.type == "heading_open"] == [t.tag for t in benign if t.type == "heading_open"]


@given(hostile)
def test_escaped_markdown_reads_as_it_was_written(text: str) -> None:
    (paragraph,) = MarkdownIt("commonmark").parseInline(markdown(text))
    assert "".join(child.content for child in paragraph.children or ()).strip() == visible(text).strip()
    assert {child.type for child in paragraph.children or ()} <= {"text"}
    assert "://" not in markdown(text)
    if visible(text).strip():
        (span,) = MarkdownIt("commonmark").parseInline(code(text))[0].children or ()
        assert (span.type, span.content.strip()) == ("code_inline", visible(text).strip())


@given(hostile)
def test_a_drawing_is_well_formed_and_draws_nothing_foreign(text: str) -> None:
    drawn = svg(topology(text))
    root = ET.fromstring(drawn)
    assert {element.tag.rpartition("}")[2] for element in root.iter()} <= {"svg", "rect", "line", "text", "title"}
    assert not hidden("".join(root.itertext()))
    assert not hidden(drawn)
    names = {name for element in root.iter() for name in element.attrib}
    assert not {name for name in names if name.startswith("on") or "href" in name}
    assert ET.fromstring(f"<a b='{xml(text)}'>{xml(text)}</a>").text == (visible(text) or None)


_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')


@pytest.mark.parametrize("draw", [dot, mermaid])
@given(text=hostile)
def test_a_graph_keeps_its_shape(draw: object, text: str) -> None:
    assert callable(draw)
    drawn = draw(topology(text))
    assert not hidden(drawn)
    assert _QUOTED.sub('""', drawn) == _QUOTED.sub('""', draw(topology("eth0")))
    if draw is mermaid:
        for label in _QUOTED.findall(drawn):
            assert not set(label[1:-1].replace("<br>", "")) & set("<>&\"'`|{}[]\\"), label
