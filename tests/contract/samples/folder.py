from msgspec.structs import replace

from reconciler.resources.folder import Folder, folder_key
from tests.contract.sample import Sample

_FOLDER = Folder(key=folder_key("/run/cnm-sockets/lan"), uid=0, gid=0, mode=0o750)
SAMPLE = Sample(
    spec=_FOLDER,
    variants=(replace(_FOLDER, uid=1000, gid=1001, mode=0o770),),
    requires=("root",),  # others to give it to
    foreign="mkdir -p /run/cnm-sockets/lan",
)
