from msgspec.structs import replace

from reconciler.resources.file import ConfigFile, file_key
from tests.contract.sample import Sample

_FILE = ConfigFile(key=file_key("/run/example.conf"), content="! cnm cnm: ours\nrouter bgp 1\n")
SAMPLE = Sample(
    spec=_FILE,
    variants=(replace(_FILE, content="! cnm cnm: ours\nrouter bgp 2\n"),),
    foreign="echo 'hostname theirs' > /run/example.conf",
)
