"""Running a command inside a sandbox, as ``ip netns exec`` does."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence

from reconciler.errors import CommandError, UsageError
from reconciler.host.host import Host

NOT_FOUND, NOT_EXECUTABLE = 127, 126  # what shells say


def run_inside(host: Host, sandbox: str, netns: str, source: str, argv: Sequence[str]) -> int:
    """``sandbox`` is its name for people, ``netns`` its namespace ("": the host's own stack). A command killed by signal N gives 128+N.

    Raises CommandError when there is no such command, or it cannot be run.
    """
    if not argv:
        raise UsageError("no command was given: cnm exec SANDBOX -- COMMAND")
    namespace = host.root if not netns else host.find(netns, source)
    if namespace is None:
        raise UsageError(f"the namespace of sandbox {sandbox} is not there; `cnm status` says why")
    with namespace.entered():  # a child starts in the namespace that its parent's thread is in
        try:
            child = subprocess.Popen(list(argv), env=os.environ.copy())  # noqa: S603 - what the user asked to run
        except OSError as error:
            # A folder of the search path that may not be entered makes EACCES of what is found nowhere.
            if isinstance(error, FileNotFoundError) or ("/" not in argv[0] and shutil.which(argv[0]) is None):
                raise CommandError(f"{argv[0]}: there is no such command", NOT_FOUND) from None
            raise CommandError(f"{argv[0]}: {error.strerror}", NOT_EXECUTABLE) from None
    try:
        status = child.wait()
    except KeyboardInterrupt:
        status = child.wait()
    return status if status >= 0 else 128 - status
