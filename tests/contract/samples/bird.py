import sys

from msgspec.structs import replace

from reconciler.resources.bird import (
    BgpSession,
    BirdConfig,
    Password,
    bird_key,
    password_key,
    password_of,
    session_key,
)
from tests.contract.sample import Sample

_FILE = "/run/cnm-test.password"  # in the test's own /run
_WRITE = f"umask 077; echo secret > {_FILE}"
_TEXT = "# cnm cnm: ours\nrouter id 192.0.2.1;\nprotocol device {}\n"
_SESSION = f"""\
protocol bgp 'leaf' {{
  local 192.0.2.1 as 64512;
  neighbor 192.0.2.2 as 65000;
  password "{password_of(_FILE)}";
  ipv4 {{ import none; export none; }};
}}
"""
_FOLDER = (
    f"folder=/run/cnm/cnm-$({sys.executable} -c "
    "'from reconciler.host.inventory import host_identity; print(host_identity())')/bird; mkdir -p $folder"
)
_RUN = f"""{_FOLDER}; cat > $folder/bird.conf <<'END'
# somebody's
{_TEXT}{_SESSION}
END
PATH=$PATH:/usr/sbin; bird -c $folder/bird.conf -s $folder/bird.ctl"""
_OWN = BirdConfig(key=bird_key(), content=_TEXT, return_within=0, loaded=True)
_WITH_PASSWORD = replace(_OWN, content=_TEXT + _SESSION, passwords=(_FILE,))
SAMPLE = Sample(
    base=(Password(key=password_key(_FILE)),),
    spec=_OWN,
    variants=(replace(_OWN, content=_TEXT.replace("192.0.2.1", "192.0.2.7")), _WITH_PASSWORD),
    setup=_WRITE,
    requires=("bird",),
    foreign=f"{_FOLDER}; printf 'router id 192.0.2.9;\\nprotocol device {{}}\\n' > $folder/bird.conf",
)
_GIVEN = Sample(spec=Password(key=password_key(_FILE)), given=_WRITE)
_SEEN = Sample(spec=BgpSession(key=session_key("leaf")), given=_RUN, requires=("bird",))
MORE = (_GIVEN, _SEEN)
