"""Messages between instances that go through the interconnect, beside the doorbell.

What two instances cannot put into memory that they share travels as data on their links, which are
ordered and lossless. A message is settled when its receiver has taken it out, or when it is known
that the receiver never will. Until then it takes up one place in the window of its source and
target, as a message in a ring takes up its slot until the consumer clears that.
"""

from dataclasses import dataclass
from typing import NamedTuple

from mkrpc.outcome import Outcome

__all__ = [
    "MAX_FRAME_MESSAGES",
    "MAX_MESSAGES_OF_ONE",
    "MAX_MESSAGE_BYTES",
    "MAX_QUEUED_MESSAGES",
    "MESSAGE_WINDOW",
    "Arrival",
    "Doorbell",
    "Message",
    "SettledMessages",
    "Taken",
]

MESSAGE_WINDOW = 16
"""Messages of one instance to another that are not settled; one more is -ENOSPC at its sender. As
many as a ring has slots."""

MAX_MESSAGE_BYTES = 256
"""Bytes of one message between live instances, by either way."""

MAX_MESSAGES_OF_ONE = 2 * MESSAGE_WINDOW
"""Messages of all lives of one instance that wait for another to take them: a window of the life
that is, and one of those before it. One more is ``rejected(backpressure)``, and nobody else's."""

MAX_QUEUED_MESSAGES = 16_384
"""Messages that wait for one instance to take them, at the interconnect and in its own hands
together: the most of each other instance. An interconnect that hands over one more loses its
stream."""

MAX_FRAME_MESSAGES = 64
"""Messages in one frame to an instance at most, and reports of them in any frame."""


@dataclass(frozen=True, slots=True)
class Message:
    """To the interconnect. ``seq`` counts from 1 for each target; ``stamp``: as in ``Writes``."""

    target: int
    seq: int
    ipi_type: int
    data: bytes
    stamp: int = 0


@dataclass(frozen=True, slots=True)
class Arrival:
    """To the target. ``source``: the sender's incarnation; ``doorbell``: APIC id of its CPU 0."""

    sender: int
    source: bytes
    seq: int
    ipi_type: int
    data: bytes
    doorbell: int


class Doorbell(NamedTuple):
    """``instance`` is rung at the CPU with this APIC id, and nobody else is."""

    instance: int
    apic_id: int


@dataclass(frozen=True, slots=True)
class Taken:
    """Of the messages of this incarnation, all up to ``seq`` have been taken out."""

    source: bytes
    seq: int


@dataclass(frozen=True, slots=True)
class SettledMessages:
    """To the source: what became of its messages ``first`` to ``last`` to ``target``.
    ``delivered``: they have been taken out."""

    target: int
    first: int
    last: int
    outcome: Outcome
