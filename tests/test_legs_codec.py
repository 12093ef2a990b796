"""Legs in columns: the dense form says what the plain one says, in the same published fields."""

from array import array

import pytest
from frame_strategies import dense_legs
from hypothesis import given

from mkrpc.columns import column_from_wire, column_to_wire
from mkrpc.errors import ProtocolError
from mkrpc.legs_codec import legs_from_pb, legs_to_pb
from mkrpc.link.frames import MAX_FRAME_WORDS, Legs
from mkrpc.v1 import interconnect_pb2 as data

SOURCE = b"s" * 16
U64 = (1 << 64) - 1


def over_the_wire(legs):
    message = data.Legs()
    legs_to_pb(legs, message)
    return data.Legs.FromString(message.SerializeToString())


@given(dense_legs())
def test_dense_legs_come_back_as_they_were(legs):
    assert legs.dense
    assert legs_from_pb(over_the_wire(legs)) == legs


@given(dense_legs())
def test_the_dense_form_says_what_the_plain_one_says(legs):
    message = over_the_wire(legs)
    offsets = list(message.offsets) or range(len(legs))
    places = list(message.places)
    assert list(message.words) == list(legs.words)
    assert [message.first_seq + offset for offset in offsets] == list(legs.seqs)
    assert (places * len(legs) if len(places) == 1 else places) == list(legs.cpus)
    assert not message.seqs
    assert not message.cpus


def test_a_burst_to_one_cpu_costs_little_more_than_its_words():
    count = MAX_FRAME_WORDS
    words, cpus = array("Q", [U64] * count), array("I", [3] * count)
    size = len(over_the_wire(Legs(SOURCE, range(1, count + 1), words, cpus)).SerializeToString())
    assert size < 8 * count + 64


@pytest.mark.parametrize(
    ("message", "says"),
    [
        (data.Legs(source=SOURCE, first_seq=1, places=[1]), "of both forms, or of none"),
        (data.Legs(source=SOURCE, first_seq=1, words=[5], seqs=[1], places=[1]), "of both forms"),
        (data.Legs(source=SOURCE, first_seq=1, words=[5], cpus=[1], places=[1]), "of both forms"),
        (data.Legs(source=SOURCE, first_seq=1, words=[5, 6], places=[1, 2, 3]), "differ in length"),
        (data.Legs(source=SOURCE, first_seq=1, words=[5, 6]), "differ in length"),
        (
            data.Legs(source=SOURCE, first_seq=1, words=[5, 6], offsets=[0], places=[1]),
            "differ in length",
        ),
        (
            data.Legs(source=SOURCE, first_seq=1, words=[5, 6], offsets=[1, 0], places=[1]),
            "that fall",
        ),
        (
            data.Legs(source=SOURCE, first_seq=U64, words=[5, 6], places=[1]),
            "beyond 64 bits",
        ),
        (
            data.Legs(source=SOURCE, first_seq=U64, words=[5, 6], offsets=[0, 1], places=[1]),
            "beyond 64 bits",
        ),
        (
            data.Legs(source=SOURCE, first_seq=U64, words=[5], offsets=[1], places=[1]),
            "beyond 64 bits",
        ),
        (data.Legs(source=b"short", first_seq=1, words=[5], places=[1]), "5 bytes, not 16"),
    ],
)
def test_dense_legs_that_cannot_be(message, says):
    with pytest.raises(ProtocolError, match=says):
        legs_from_pb(message)


def test_a_column_on_the_wire_is_little_endian():
    assert column_to_wire(array("I", [1, 0x0203])) == b"\1\0\0\0\3\2\0\0"
    assert column_from_wire("Q", b"\x05" + bytes(7)) == array("Q", [5])


def test_a_column_that_ends_within_a_number():
    with pytest.raises(ProtocolError, match="12 bytes, 8 to a number"):
        column_from_wire("Q", bytes(12))
