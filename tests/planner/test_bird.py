"""What is written into BIRD's configuration cannot become a statement of its own."""

from __future__ import annotations

import re
import subprocess
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.drivers.bird import Change, Session, Speech, Watch, render, string, symbol, within
from reconciler.topology.view import SpeakerView

SPEAKER = SpeakerView(64512, "192.0.2.1", False, "", "", "192.0.2.1")
HOSTILE = st.text(st.sampled_from("\"\\'\n\r\t;{}#/* ab\0é<>"), max_size=12) | st.text(max_size=20)


def speech(about: str = "somebody", password: str | None = None, name: str = "node.n2.ipv4") -> Speech:
    session = Session(
        name=name,
        about=about,
        local=ip_address("192.0.2.1"),
        peer=ip_address("192.0.2.2"),
        asn=65001,
        port=179,
        scope=(within(ip_network("10.0.0.0/8")),),
        exports=(Change("accept", (within(ip_network("10.0.0.0/8")),), ("64512:1",), ("64512:1:2",), 2, 50),),
        everything=True,
        password_file=password,
        ttl_security=True,
        bfd=Watch(300, 3),
        next_hop="self",
    )
    nets = (ip_network("10.1.0.0/26"), ip_network("fd00::/122"))
    pools = (ip_network("10.1.0.0/16"), ip_network("fd00::/64"))
    return Speech(
        SPEAKER,
        179,
        90,
        120,
        nets,
        pools,
        nets,
        pools,
        (Change("", tuple(map(within, pools)), add=("1:2",)),),
        pools,
        (session,),
    )


@given(HOSTILE)
def test_a_string_is_one_string_or_refused(text: str) -> None:
    try:
        quoted = string(text)
    except ValueError:
        assert not re.fullmatch(r"[ !#-~]{1,250}", text)
        return
    assert quoted[0] == quoted[-1] == '"'
    assert not set(quoted[1:-1]) & set('"\n\r\0')
    bare = render("cnm", speech()).count("\n")
    assert render("cnm", speech(about=text)).count("\n") == bare


@given(HOSTILE)
def test_a_name_is_one_name_or_refused(text: str) -> None:
    try:
        quoted = symbol(text)
    except ValueError:
        return
    assert re.fullmatch(r"'[A-Za-z0-9_.:-]{1,60}'", quoted)


def test_long_names_stay_apart() -> None:
    assert symbol("n" * 200) != symbol("n" * 199 + "m")


@pytest.mark.requires("bird")
@given(st.text(st.sampled_from("\\';{}#/* ab<>="), min_size=1, max_size=30))
def test_bird_reads_hostile_strings_as_strings(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path: Path = tmp_path_factory.getbasetemp() / "hostile.conf"
    path.write_text(render("cnm", speech(about=text, password="/etc/cnm/" + text)))
    done = subprocess.run(["/usr/sbin/bird", "-p", "-c", path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
