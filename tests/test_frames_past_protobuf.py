"""Frames that go past protobuf are the bytes that it makes, and are read as it reads them."""

from array import array
from dataclasses import fields, replace
from itertools import count
from typing import get_type_hints

import pytest
from frame_strategies import (
    DOWN_FRAMES,
    EDITS,
    IDENTITY,
    OUTCOME,
    REGISTER,
    RUNS,
    TEXT,
    U32,
    U64,
    UP_FRAMES,
    column,
    dense_legs,
    edited,
    few,
    filled,
)
from hypothesis import example, given
from hypothesis import strategies as st

from mkrpc import wire_tags
from mkrpc.errors import ProtocolError
from mkrpc.frame_codec import (
    decode_down,
    decode_down_by_protobuf,
    decode_up,
    decode_up_by_protobuf,
    encode_down,
    encode_down_by_protobuf,
    encode_up,
    encode_up_by_protobuf,
)
from mkrpc.frame_reader import down_frame_from_bytes, up_frame_from_bytes
from mkrpc.frame_writer import MOST_IN_COLUMN, down_frame_to_bytes, up_frame_to_bytes
from mkrpc.link.frames import (
    CpuAccount,
    DownFrame,
    Legs,
    OutcomeRun,
    ResolvedRun,
    SourceFloor,
    UpFrame,
    VectorCount,
    Writes,
)
from mkrpc.outcome import Outcome
from mkrpc.v1 import control_pb2 as control
from mkrpc.v1 import interconnect_pb2 as data
from mkrpc.v1 import types_pb2 as types

NUMBER = st.one_of(st.integers(0, 300), st.integers(0, 1 << 22), U64)
CPU = st.one_of(st.integers(0, 511), U32)
SOURCE = b"s" * 16

COMMON_UP = st.builds(
    UpFrame,
    frame=NUMBER,
    ack=NUMBER,
    more=st.booleans(),
    events=column(
        st.builds(
            Writes,
            cpu=CPU,
            first_seq=NUMBER,
            words=st.lists(U64, max_size=MOST_IN_COLUMN + 1),
            command=NUMBER,
        )
    ),
    applied=NUMBER,
    outcomes=column(st.builds(OutcomeRun, NUMBER, CPU, OUTCOME)),
    accounts=column(
        st.builds(
            CpuAccount,
            cpu=CPU,
            irr=st.one_of(st.just(0), REGISTER),
            isr=st.one_of(st.just(0), REGISTER),
            tpr=CPU,
            ppr=CPU,
            interrupts_enabled=st.booleans(),
            activity=st.one_of(st.sampled_from(["idle", "running"]), TEXT),
            multikernel=NUMBER,
            vectors=few(st.builds(VectorCount, CPU, NUMBER, NUMBER, NUMBER, NUMBER, NUMBER)),
            stats=st.dictionaries(CPU, NUMBER, max_size=4),
        )
    ),
    resolved=column(RUNS),
    beat=NUMBER,
)
LEGS = st.tuples(IDENTITY, st.lists(st.tuples(NUMBER, U64, CPU), max_size=MOST_IN_COLUMN + 1)).map(
    lambda made: Legs(made[0], *([leg[index] for leg in made[1]] for index in range(3)))
)
FLOOR = st.builds(
    SourceFloor, source=IDENTITY, runs=st.lists(RUNS, max_size=MOST_IN_COLUMN + 1).map(tuple)
)
COMMON_DOWN = st.builds(
    DownFrame,
    frame=NUMBER,
    ack=NUMBER,
    floors=column(FLOOR),
    legs=column(st.one_of(LEGS, dense_legs(resent=False))),
    resolved=column(RUNS),
    beat=NUMBER,
    roster=NUMBER,
)


@given(st.one_of(COMMON_UP, UP_FRAMES))
def test_an_instance_says_the_bytes_that_protobuf_says(frame):
    assert encode_up(frame) == encode_up_by_protobuf(frame)


@given(st.one_of(COMMON_DOWN, DOWN_FRAMES))
def test_the_interconnect_says_the_bytes_that_protobuf_says(frame):
    assert encode_down(frame) == encode_down_by_protobuf(frame)


def read(decode, message):
    """What is read, or what is said against it."""
    try:
        return decode(message)
    except ProtocolError as error:
        return str(error)


@given(COMMON_UP, EDITS)
@example(UpFrame(), [])
def test_what_an_instance_said_is_read_as_protobuf_reads_it(frame, edits):
    for message in (encode_up(frame), edited(encode_up(frame), edits)):
        assert read(decode_up, message) == read(decode_up_by_protobuf, message)


@given(COMMON_DOWN, EDITS)
@example(DownFrame(), [])
def test_what_the_interconnect_said_is_read_as_protobuf_reads_it(frame, edits):
    for message in (encode_down(frame), edited(encode_down(frame), edits)):
        assert read(decode_down, message) == read(decode_down_by_protobuf, message)


OF_SOURCE = bytes((wire_tags.LEGS_SOURCE, 16)) + SOURCE
TWO_WORDS = bytes((wire_tags.LEGS_WORDS, 16)) + bytes(range(1, 17))
FROM_ONE = bytes((wire_tags.LEGS_FIRST_SEQ, 1))
TO_CPU_1 = bytes((wire_tags.LEGS_PLACES, 4, 1, 0, 0, 0))
ODD_LEGS = {
    "as it should be": OF_SOURCE + TWO_WORDS + FROM_ONE + TO_CPU_1,
    "an empty column": OF_SOURCE + bytes((wire_tags.LEGS_WORDS, 0)) + FROM_ONE + b"\x4a\0",
    "half a word": OF_SOURCE + b"\x1a\x0c" + bytes(12) + FROM_ONE + TO_CPU_1,
    "numbered from 0": OF_SOURCE + TWO_WORDS + b"\x38\0" + TO_CPU_1,
    "resent, and not numbered": OF_SOURCE + TWO_WORDS + b"\x28\1" + TO_CPU_1,
    "resent": OF_SOURCE + TWO_WORDS + b"\x28\1" + FROM_ONE + TO_CPU_1,
    "resent, as said at the end": OF_SOURCE + TWO_WORDS + FROM_ONE + TO_CPU_1 + b"\x28\1",
    "a field that nobody knows": OF_SOURCE + TWO_WORDS + FROM_ONE + b"\x52\4\1\0\0\0",
    "no places": OF_SOURCE + TWO_WORDS + FROM_ONE,
    "three places": OF_SOURCE + TWO_WORDS + FROM_ONE + b"\x4a\x0c" + bytes(12),
    "numbers that fall": OF_SOURCE + TWO_WORDS + FROM_ONE + b"\x42\x08\1" + bytes(7) + TO_CPU_1,
    "cut off": OF_SOURCE + TWO_WORDS + FROM_ONE + TO_CPU_1[:-1],
}


@pytest.mark.parametrize("legs", ODD_LEGS.values(), ids=ODD_LEGS)
def test_dense_legs_are_read_as_protobuf_reads_them(legs):
    frame = bytes((wire_tags.DOWN_LEGS, len(legs))) + legs
    message = bytes((wire_tags.RESPONSE_FRAME, len(frame))) + frame
    assert read(decode_down, message) == read(decode_down_by_protobuf, message)


ONE_WRITE = UpFrame(frame=70_000, ack=300, events=[Writes(0, 1 << 40, [1 << 32 | 0xEA])], beat=1)
ANSWER = UpFrame(
    frame=2,
    ack=1,
    applied=1,
    outcomes=[OutcomeRun(1, 1, Outcome.COALESCED)],
    accounts=[
        CpuAccount(
            3, 1 << 255, 1, 16, 32, True, "idle", 9, [VectorCount(234, 1, 2, 3, 4, 5)], {1: 2}
        )
    ],
    more=True,
)
ONE_LEG = DownFrame(frame=1, ack=300, legs=[Legs(SOURCE, [1 << 40], [1 << 63], [511])], roster=3)
ALONE = DownFrame(frame=1 << 20, ack=127, legs=ONE_LEG.legs)
BURST = DownFrame(
    frame=3,
    ack=2,
    legs=[
        Legs(SOURCE, range(7, 10), array("Q", [1 << 63, 5, 6]), array("I", [0, 511, 300])),
        Legs(SOURCE, array("Q", [1, 3, 1 << 32]), array("Q", [5, 5, 5]), array("I", [2, 2, 2])),
    ],
)
FLOORED = DownFrame(
    frame=2,
    floors=[SourceFloor(SOURCE, (ResolvedRun(1, 1 << 40), ResolvedRun((1 << 40) + 2, 1 << 41)))],
    legs=ONE_LEG.legs,
)
TOLD = DownFrame(frame=5, ack=4, resolved=[ResolvedRun(1, 200)], beat=9)


@pytest.mark.parametrize("frame", [ONE_WRITE, ANSWER, UpFrame(ack=16, applied=9)], ids=str)
def test_common_frames_of_an_instance_go_past_protobuf(frame):
    message = up_frame_to_bytes(frame)
    assert message == encode_up_by_protobuf(frame)
    assert up_frame_from_bytes(message) == frame


@pytest.mark.parametrize(
    "frame", [ONE_LEG, ALONE, BURST, FLOORED, TOLD, DownFrame(ack=16)], ids=str
)
def test_common_frames_of_the_interconnect_go_past_protobuf(frame):
    message = down_frame_to_bytes(frame)
    assert message == encode_down_by_protobuf(frame)
    assert down_frame_from_bytes(message) == frame


WAYS = {
    UpFrame: (encode_up, encode_up_by_protobuf, decode_up, decode_up_by_protobuf),
    DownFrame: (encode_down, encode_down_by_protobuf, decode_down, decode_down_by_protobuf),
}


def one_by_one(kind):
    """Of each field one message that has nothing else, made from the annotations."""
    hints = get_type_hints(kind)
    return [{each.name: filled(hints[each.name], count(1))} for each in fields(kind)]


def assert_both_ways_agree(frame):
    encode, encode_by_protobuf, decode, decode_by_protobuf = WAYS[type(frame)]
    message = encode_by_protobuf(frame)
    assert encode(frame) == message
    assert decode(message) == decode_by_protobuf(message) == frame


@pytest.mark.pure  # of annotations, which a compiled class does not keep
@pytest.mark.parametrize("kind", [UpFrame, DownFrame])
def test_no_field_of_a_frame_gets_lost_past_protobuf(kind):
    """A field that is new makes a frame uncommon, or is written."""
    for content in one_by_one(kind):
        assert_both_ways_agree(kind(**content))


PARTS = [
    (Writes(1, 2, [3]), lambda each: UpFrame(events=[each])),
    (OutcomeRun(1, 2, Outcome.COALESCED), lambda each: UpFrame(outcomes=[each])),
    (CpuAccount(1, 2, 3, 4, 5, True, "idle", 6), lambda each: UpFrame(accounts=[each])),
    (ResolvedRun(1, 1), lambda each: UpFrame(resolved=[replace(each, last=1 << 40)])),
    (SourceFloor(SOURCE, (ResolvedRun(1, 2),)), lambda each: DownFrame(floors=[each])),
    (Legs(SOURCE, [1], [2], [3]), lambda each: DownFrame(legs=[each])),
    (
        Legs(SOURCE, range(1, 2), array("Q", [2]), array("I", [3])),
        lambda each: DownFrame(legs=[each]),
    ),
]


@pytest.mark.pure
@pytest.mark.parametrize(("part", "framed"), PARTS, ids=lambda each: type(each).__name__)
def test_no_field_of_a_part_of_a_frame_gets_lost_past_protobuf(part, framed):
    columns = {"seqs", "words", "cpus"} if isinstance(part, Legs) else set()
    for content in one_by_one(type(part)):
        if not columns & content.keys():
            assert_both_ways_agree(framed(replace(part, **content)))


MESSAGES = {
    "ACCOUNT": types.CpuAccount,
    "DOWN": data.DownFrame,
    "EVENT": data.SourceEvent,
    "FLOOR": data.SourceFloor,
    "INJECT": control.InjectStreamRequest,
    "INJECTED": control.InjectStreamResponse,
    "LEG": control.LegCount,
    "LEGS": data.Legs,
    "OUTCOME": data.OutcomeRun,
    "REQUEST": data.AttachRequest,
    "RESPONSE": data.AttachResponse,
    "RUN": data.ResolvedRun,
    "SEVERAL": control.InjectedLegs,
    "STAT": types.IrqStatCount,
    "TOLD": control.InjectedOutcomes,
    "UP": data.UpFrame,
    "VECTOR": types.VectorCount,
    "WORDS": control.InjectedRun,
    "WRITES": data.Writes,
}


@pytest.mark.parametrize("name", wire_tags.__all__)
def test_a_tag_is_what_the_proto_file_says(name):
    message, _, field = name.partition("_")
    found = MESSAGES[message].DESCRIPTOR.fields_by_name[field.lower()]
    sized = found.is_repeated or found.type in (found.TYPE_STRING, found.TYPE_BYTES)
    wire_type = 2 if sized or found.type == found.TYPE_MESSAGE else 0
    assert getattr(wire_tags, name) == found.number << 3 | wire_type
