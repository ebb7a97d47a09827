"""The laboratory: private "hosts" in which tests may do to a kernel whatever they like.

A :class:`Host` is a network namespace and a mount namespace with a /run of its own. Nothing of it is visible
outside, and the kernel frees it when the process that made it ends, however that ends.
"""

from tests.lab.capability import missing
from tests.lab.events import Recording
from tests.lab.fingerprint import Fingerprint, difference
from tests.lab.host import Failed, Host, ping, wire

__all__ = ["Failed", "Fingerprint", "Host", "Recording", "difference", "missing", "ping", "wire"]
