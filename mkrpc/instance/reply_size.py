"""What replies take on the wire, without encoding them."""

from mkrpc.link.frames import Reply

__all__ = ["how_many_fit", "reply_bytes"]

_BYTES_PER_CHARACTER = 4
_BYTES_PER_VECTOR = 60
_BYTES_PER_VIEW = 1024
_BYTES_PER_RECORD = 48
_BYTES_OF_PENDING = 512
"""On the wire at most: a vector with its five counts, a CPU without its vectors, a record of the
log without its text, what bears on a vector without a panic's words."""


def reply_bytes(reply: Reply) -> int:
    """What a reply takes on the wire, reckoned high; only the files of /proc are surely ASCII."""
    words = len(reply.error) + len(reply.advice)
    words += sum(len(record.text) for record in reply.records)
    words += 0 if reply.pending is None else len(reply.pending.core.panic)
    vectors = sum(len(view.account.vectors) for view in reply.cpus)
    return (
        len(reply.text)
        + _BYTES_PER_CHARACTER * words
        + _BYTES_PER_RECORD * len(reply.records)
        + _BYTES_PER_VIEW * len(reply.cpus)
        + _BYTES_PER_VECTOR * vectors
        + (0 if reply.pending is None else _BYTES_OF_PENDING)
    )


def how_many_fit(replies: list[Reply], limit: int) -> int:
    """How many of the first replies take ``limit`` bytes at most; one, if there is one, always."""
    room = limit
    for index, reply in enumerate(replies):
        room -= reply_bytes(reply)
        if index and room < 0:
            return index
    return len(replies)
