"""Every frame survives the wire; whatever else arrives is a ProtocolError, never another one."""

from itertools import count

import pytest
from frame_strategies import DOWN, EDITS, UP, edited, filled
from hypothesis import example, given
from hypothesis import strategies as st

from mkrpc.errors import ProtocolError
from mkrpc.frame_codec import decode_down, decode_up, encode_down, encode_up
from mkrpc.link.frames import (
    Command,
    CommandKind,
    DownFrame,
    Goodbye,
    Hello,
    OutcomeRun,
    SettledWrite,
    UpFrame,
    Welcome,
)
from mkrpc.outcome import Outcome
from mkrpc.v1 import interconnect_pb2 as data
from mkrpc.v1 import types_pb2 as types


@given(UP)
def test_what_an_instance_says_survives_the_wire(message):
    assert decode_up(encode_up(message)) == message


@given(DOWN)
def test_what_the_interconnect_says_survives_the_wire(message):
    assert decode_down(encode_down(message)) == message


@pytest.mark.pure  # of annotations, which a compiled class does not keep
@pytest.mark.parametrize(
    ("kind", "encode", "decode"),
    [
        (Hello, encode_up, decode_up),
        (UpFrame, encode_up, decode_up),
        (Goodbye, encode_up, decode_up),
        (Welcome, encode_down, decode_down),
        (DownFrame, encode_down, decode_down),
        (Goodbye, encode_down, decode_down),
    ],
)
def test_no_field_of_any_message_is_left_out(kind, encode, decode):
    """Made from the annotations, so that a field which is new is in it, and not by luck."""
    message = filled(kind, count(1))
    assert decode(encode(message)) == message


@pytest.mark.parametrize("outcome", list(Outcome), ids=lambda outcome: outcome.name)
def test_every_outcome_survives_the_wire(outcome):
    frame = UpFrame(events=[SettledWrite(1, 2, 3, outcome)], outcomes=[OutcomeRun(4, 5, outcome)])
    assert decode_up(encode_up(frame)) == frame


@pytest.mark.parametrize("kind", list(CommandKind), ids=lambda kind: kind.name)
def test_every_kind_of_command_survives_the_wire(kind):
    frame = DownFrame(commands=[Command(1, kind)])
    assert decode_down(encode_down(frame)) == frame


def assert_understood_or_refused(message: bytes, decode, encode) -> None:
    """A valid frame says the same when it is said again; ProtocolError is the other way out."""
    try:
        found = decode(message)
    except ProtocolError:
        return
    assert decode(encode(found)) == found


@given(st.binary(max_size=300))
@example(b"")
@example(b"\xff\xff\xff")
def test_random_bytes_are_a_frame_or_a_protocol_error(message):
    assert_understood_or_refused(message, decode_up, encode_up)
    assert_understood_or_refused(message, decode_down, encode_down)


@given(UP, EDITS)
def test_a_mangled_message_of_an_instance_is_a_frame_or_a_protocol_error(message, edits):
    assert_understood_or_refused(edited(encode_up(message), edits), decode_up, encode_up)


@given(DOWN, EDITS)
def test_a_mangled_message_of_the_interconnect_is_a_frame_or_a_protocol_error(message, edits):
    assert_understood_or_refused(edited(encode_down(message), edits), decode_down, encode_down)


SHORT, RIGHT, LONG = (b"i" * size for size in (15, 16, 17))
NO_MODE = types.CpuAddress(mode=99)  # type: ignore[arg-type]


def up(**content):
    return data.AttachRequest(frame=data.UpFrame(**content))


def down(**content):
    return data.AttachResponse(frame=data.DownFrame(**content))


@pytest.mark.parametrize(
    ("message", "says"),
    [
        (data.AttachRequest(), "empty message"),
        (data.AttachRequest(hello=data.Hello(incarnation=SHORT)), "15 bytes, not 16"),
        (data.AttachRequest(hello=data.Hello(incarnation=LONG)), "17 bytes, not 16"),
        (data.AttachRequest(hello=data.Hello(incarnation=RIGHT, cpus=[NO_MODE])), "mode 99"),
        (up(events=[data.SourceEvent()]), "empty event"),
        (up(events=[data.SourceEvent(settled=data.SettledWrite(outcome=3))]), "unknown outcome 3"),
        (up(events=[data.SourceEvent(address=types.CpuAddress())]), "APIC mode 0"),
        (up(outcomes=[data.OutcomeRun(first=1, count=1)]), "unknown outcome 0"),
        (up(accounts=[types.CpuAccount(irr=bytes(33))]), "register of 33 bytes"),
        (up(accounts=[types.CpuAccount(isr=bytes(33))]), "register of 33 bytes"),
        (up(replies=[data.Reply(cpus=[types.CpuView()])]), "mode 0"),
        (up(books=[data.SourceBook(destination=SHORT)]), "15 bytes, not 16"),
        (up(books=[data.SourceBook(outcomes=[data.EndedLegs(count=1)])]), "unknown outcome 0"),
        (up(arbitrated=[data.Arbitrated(source=LONG)]), "17 bytes, not 16"),
        (up(resolved=[data.ResolvedRun(first=0, last=3)]), "from 0 to 3"),
        (up(resolved=[data.ResolvedRun(first=3, last=2)]), "from 3 to 2"),
    ],
    ids=str,
)
def test_what_an_instance_cannot_say(message, says):
    with pytest.raises(ProtocolError, match=says):
        decode_up(message.SerializeToString())


@pytest.mark.parametrize(
    ("message", "says"),
    [
        (data.AttachResponse(), "empty message"),
        (down(legs=[data.Legs(source=SHORT)]), "15 bytes, not 16"),
        (down(legs=[data.Legs(source=RIGHT, seqs=[1], words=[2])]), "differ in length"),
        (down(legs=[data.Legs(source=RIGHT, seqs=[1], cpus=[2])]), "differ in length"),
        (down(legs=[data.Legs(source=RIGHT, words=[1], cpus=[2])]), "differ in length"),
        (down(legs=[data.Legs(source=RIGHT, resent=9)]), "unknown way, 9"),
        (down(books=[data.SourceBook(destination=LONG)]), "17 bytes, not 16"),
        (down(floors=[data.SourceFloor(source=LONG)]), "17 bytes, not 16"),
        (down(floors=[data.SourceFloor(source=RIGHT, runs=[data.ResolvedRun()])]), "from 0 to 0"),
        (down(resolved=[data.ResolvedRun(first=2, last=1)]), "from 2 to 1"),
        (down(commands=[data.Command(kind=0)]), "unknown command 0"),
        (down(commands=[data.Command(kind=99)]), "unknown command 99"),
    ],
    ids=str,
)
def test_what_the_interconnect_cannot_say(message, says):
    with pytest.raises(ProtocolError, match=says):
        decode_down(message.SerializeToString())
