"""One JSON object a line: what journal, inventory and history are made of."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec


def line(record: Mapping[str, Any]) -> bytes:
    """With its end. What JSON does not know is written as text."""
    try:
        return msgspec.json.encode(record, enc_hook=str) + b"\n"
    except UnicodeEncodeError:  # names that are no UTF-8, which Python holds as surrogates
        return json.dumps(record, default=str).encode() + b"\n"
