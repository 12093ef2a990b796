"""The payloads of the calls that come often; all others are JSON (:mod:`mkrpc.journal.values`).

Frames are in their wire encoding, as they came or went. Of what an object sends only a CRC-32 is
kept, with the numbers of the frame: the content is in the journal of whoever received it.
"""

import zlib
from collections.abc import Iterable
from dataclasses import replace
from struct import Struct
from typing import NamedTuple

from mkrpc.frame_codec import encode_down, encode_up
from mkrpc.limits import IDENTITY_BYTES
from mkrpc.link.frames import DownFrame, Reply, UpFrame

__all__ = [
    "CURRENT",
    "Sent",
    "pack_advance",
    "pack_number",
    "pack_sent",
    "pack_session",
    "reply_text",
    "sent_down",
    "sent_up",
    "unpack_advance",
    "unpack_number",
    "unpack_sent",
    "unpack_session",
]

CURRENT = 0xFFFF_FFFF
"""The generation of a frame that came over the current link, whichever that is."""

_NUMBER = Struct("<Q")
_SESSION = Struct("<III")
_SENT = Struct("<IIIQQQ")
_NOTHING = Struct("<I")


class Sent(NamedTuple):
    """A frame that an object gave to be sent: what of it is compared.

    ``frame``, ``ack``, ``beat`` are those of the frame; ``size`` is in bytes.
    """

    size: int
    crc: int
    frame: int
    ack: int
    beat: int

    def __str__(self) -> str:
        beat = f", beat {self.beat}" if self.beat else ""
        what = f"frame {self.frame}" if self.frame else "a bare acknowledgement"
        return f"{what} of {self.size} bytes, ack {self.ack}{beat}, CRC {self.crc:08x}"


def sent_up(frame: UpFrame) -> Sent:
    """What is kept of a frame of an instance. The wire has registers in any order, this has not."""
    if frame.replies:
        wire = encode_up(replace(frame, replies=[]))
        wire += "".join(map(reply_text, frame.replies)).encode("utf-8", "backslashreplace")
    else:
        wire = encode_up(frame)
    return Sent(len(wire), zlib.crc32(wire), frame.frame, frame.ack, frame.beat)


def reply_text(reply: Reply) -> str:
    """What an instance answered; registers come in any order."""
    views = [replace(view, registers=dict(sorted(view.registers.items()))) for view in reply.cpus]
    return repr(replace(reply, cpus=views))


def sent_down(frame: DownFrame) -> Sent:
    """What is kept of a frame of the interconnect."""
    wire = encode_down(frame)
    return Sent(len(wire), zlib.crc32(wire), frame.frame, frame.ack, frame.beat)


def pack_sent(session: int, sent: Sent | None) -> bytes:
    """``next_frame``: for which session, and what it gave, if anything."""
    return _SENT.pack(session, *sent) if sent is not None else _NOTHING.pack(session)


def unpack_sent(payload: bytes) -> tuple[int, Sent | None]:
    """The same, read."""
    if len(payload) == _NOTHING.size:
        return _NOTHING.unpack(payload)[0], None
    session, *rest = _SENT.unpack(payload)
    return session, Sent(*rest)


def pack_number(number: int) -> bytes:
    """A call with one number."""
    return _NUMBER.pack(number)


def unpack_number(payload: bytes) -> int:
    """The same, read."""
    (number,) = _NUMBER.unpack(payload)
    return int(number)


def pack_advance(now_us: int, beats: Iterable[bytes]) -> bytes:
    """``advance`` of the bus: the time, and who has beaten by another way."""
    return _NUMBER.pack(now_us) + b"".join(beats)


def unpack_advance(payload: bytes) -> tuple[int, list[bytes]]:
    """The same, read."""
    beats = payload[_NUMBER.size :]
    size = IDENTITY_BYTES
    return unpack_number(payload[: _NUMBER.size]), [
        beats[at : at + size] for at in range(0, len(beats), size)
    ]


def pack_session(session: int, generation: int | None, beat: int = 0) -> bytes:
    """What begins the calls about a session: which one, over which link, with which beat."""
    return _SESSION.pack(session, CURRENT if generation is None else generation, beat)


def unpack_session(payload: bytes) -> tuple[int, int | None, int, bytes]:
    """Session, generation, beat, and what follows them."""
    session, generation, beat = _SESSION.unpack_from(payload)
    return session, None if generation == CURRENT else generation, beat, payload[_SESSION.size :]
