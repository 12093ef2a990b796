"""A request of a client's stream is read as protobuf reads it, however its words were written."""

from array import array
from struct import pack

import pytest
from google.protobuf.message import DecodeError
from hypothesis import example, given
from hypothesis import strategies as st

from mkrpc.client.bulk_sender import BulkSender
from mkrpc.errors import ProtocolError
from mkrpc.interconnect.injection_stream import request_from
from mkrpc.interconnect.stream_codec import StreamRequest, request_from_bytes
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
    check(request_from(frame), expected)


def check(request: StreamRequest, expected: pb.InjectStreamRequest) -> None:
    assert request.words == array("Q", expected.words).tobytes()
    for name in ("client_id", "first_seq", "resolved_below", "again", "each", "runs", "roster"):
        assert getattr(request, name) == getattr(expected, name), name


WHOLE = st.builds(
    lambda **fields: pb.InjectStreamRequest(**fields).SerializeToString(),
    client_id=st.sampled_from([b"", CLIENT]),
    first_seq=NUMBER,
    words=PART,
    resolved_below=NUMBER,
    roster=NUMBER,
    again=st.booleans(),
    each=st.booleans(),
    runs=st.booleans(),
)


@given(WHOLE, st.data())
def test_damaged_bytes_are_what_protobuf_takes_them_for(frame: bytes, data: st.DataObject) -> None:
    """Cut, or with another byte somewhere: another request, or none at all."""
    if frame and data.draw(st.booleans()):
        at = data.draw(st.integers(0, len(frame) - 1))
        frame = frame[:at] + bytes((data.draw(st.integers(0, 255)),)) + frame[at + 1 :]
    frame = frame[: data.draw(st.integers(0, len(frame)))]
    try:
        expected = pb.InjectStreamRequest.FromString(frame)
    except DecodeError:
        with pytest.raises(ProtocolError):
            request_from(frame)
    else:
        check(request_from(frame), expected)


@pytest.mark.parametrize("each", [False, True])
def test_what_our_client_sends_goes_past_protobuf(each: bool) -> None:
    sender = BulkSender(CLIENT, each=each)
    sender.received(pb.InjectStreamResponse(window=100, requests=9, roster=3).SerializeToString())
    for words in ([1], [2], [3, 4, 5]):
        sender.append(words)
        request = sender.next_request()
        assert request is not None
        assert request_from_bytes(request) is not None
    sender.opened()
    sender.received(pb.InjectStreamResponse(window=100, requests=9).SerializeToString())
    again = sender.next_request()
    assert again is not None
    found = request_from_bytes(again)
    assert found is not None
    assert found.again
