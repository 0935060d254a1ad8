"""AWS's event-stream framing, written from its description and not from a client's code.

`u32 total | u32 headers length | u32 CRC32 of both | headers | payload | u32 CRC32 of all
before`, big-endian. The stand-in encodes with this; boto3, which knows nothing of it, has
to be able to read the frames after the gateway relayed them.
"""

import json
import struct
import zlib

_STRING = 7


def payload_part(payload: bytes) -> bytes:
    """A piece of the model's answer."""
    return _frame(
        {
            ":message-type": "event",
            ":event-type": "PayloadPart",
            ":content-type": "application/octet-stream",
        },
        payload,
    )


def exception(name: str, **members: str) -> bytes:
    """A modelled exception in mid-stream."""
    return _frame(
        {
            ":message-type": "exception",
            ":exception-type": name,
            ":content-type": "application/json",
        },
        json.dumps(members).encode(),
    )


def _frame(headers: dict[str, str], payload: bytes) -> bytes:
    head = b"".join(_header(name, value) for name, value in headers.items())
    # Four words of framing: total, headers length, and the two checksums.
    prelude = struct.pack(">II", 16 + len(head) + len(payload), len(head))
    checked = prelude + _checksum(prelude) + head + payload
    return checked + _checksum(checked)


def _header(name: str, value: str) -> bytes:
    text = value.encode()
    return (
        struct.pack(">B", len(name)) + name.encode() + struct.pack(">BH", _STRING, len(text)) + text
    )


def _checksum(data: bytes) -> bytes:
    return struct.pack(">I", zlib.crc32(data))
