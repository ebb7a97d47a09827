"""The mode of a NIC's embedded switch, by devlink (Documentation/networking/devlink/devlink-port.rst): ``legacy``, or
``switchdev``, in which every virtual function has a representor interface on the host."""

from __future__ import annotations

from errno import EOPNOTSUPP
from typing import Any

_GET, _SET = 29, 30  # DEVLINK_CMD_ESWITCH_* (include/uapi/linux/devlink.h)

MODES = {"legacy": 0, "switchdev": 1}


def _ask(device: str, command: int, **more: int) -> Any:
    from pyroute2.devlink import DevlinkSocket  # slow to load, and seldom needed
    from pyroute2.netlink import NLM_F_ACK, NLM_F_REQUEST
    from pyroute2.netlink.devlink import devlinkcmd
    from pyroute2.netlink.exceptions import NetlinkError

    bus, _, name = device.partition("/")
    message = devlinkcmd()
    message["cmd"], message["version"] = command, 1
    message["attrs"] = [["DEVLINK_ATTR_BUS_NAME", bus], ["DEVLINK_ATTR_DEV_NAME", name]]
    message["attrs"] += [[f"DEVLINK_ATTR_{key.upper()}", value] for key, value in more.items()]
    flags = NLM_F_REQUEST | (NLM_F_ACK if more else 0)
    with DevlinkSocket() as socket:
        try:
            socket.bind()
            return socket.nlm_request(message, msg_type=socket.prid, msg_flags=flags)
        except NetlinkError as error:
            raise OSError(error.code, str(error.args[-1])) from None


def mode(device: str) -> str:
    """``legacy`` | ``switchdev``; "" where the device has no such switch."""
    try:
        (answer,) = _ask(device, _GET)
    except OSError:
        return ""
    number = answer.get_attr("DEVLINK_ATTR_ESWITCH_MODE")
    return next((name for name, known in MODES.items() if known == number), "")


def set_mode(device: str, wanted: str) -> None:
    """Raises OSError with the driver's reason."""
    if not mode(device):
        raise OSError(EOPNOTSUPP, f"{device} has no switch that could be in mode {wanted}")
    _ask(device, _SET, eswitch_mode=MODES[wanted])
