"""A request of a client's stream is read as protobuf reads it, however its words were written."""

from array import array
from struct import pack

from hypothesis import example, given
from hypothesis import strategies as st

from mkrpc.interconnect.injection_stream import request_from
from mkrpc.v1 import control_pb2 as pb

CLIENT = b"client----------"
WORDS = pb.InjectStreamRequest.DESCRIPTOR.fields_by_name["words"].number
NUMBER = st.integers(0, (1 << 64) - 1)


def together(words: list[int]) -> bytes:
    return bytes((WORDS << 3 | 2, 8 * len(words))) + pack(f"<{len(words)}Q", *words)


def one_by_one(words: list[int]) -> bytes:
    return b"".join(bytes((WORDS << 3 | 1,)) + pack("<Q", word) for word in words)


OTHERS = st.builds(
    lambda **fields: pb.InjectStreamRequest(**fields).SerializeToString(),
    client_id=st.sampled_from([b"", CLIENT]),
    first_seq=NUMBER,
    resolved_below=NUMBER,
    again=st.booleans(),
    each=st.booleans(),
)
FOREIGN = st.just(b"\x98\x06\x01")
"""Field 99, a number."""
PART = st.lists(NUMBER, max_size=4)
PARTS = st.one_of(PART.map(together), PART.map(one_by_one), OTHERS, FOREIGN)


@given(st.lists(PARTS, max_size=4))
@example([together([1, 2]), one_by_one([3])])
@example([one_by_one([3]), together([1, 2])])
@example([together([1]), together([2])])
def test_no_word_is_lost_by_how_it_was_written(parts: list[bytes]) -> None:
    frame = b"".join(parts)
    expected = pb.InjectStreamRequest.FromString(frame)
    request = request_from(frame)
    assert request.words == array("Q", expected.words).tobytes()
    for name in ("client_id", "first_seq", "resolved_below", "again", "each", "runs", "roster"):
        assert getattr(request, name) == getattr(expected, name)
