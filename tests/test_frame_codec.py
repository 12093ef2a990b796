"""Every frame survives the wire; whatever else arrives is a ProtocolError, never another one."""

from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any, get_args, get_origin, get_type_hints

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mkrpc.errors import ProtocolError
from mkrpc.frame_codec import decode_down, decode_up, encode_down, encode_up
from mkrpc.link.frames import (
    Command,
    CommandKind,
    CpuAccount,
    CpuAddress,
    CpuView,
    DownFrame,
    Goodbye,
    Hello,
    Legs,
    LogRecord,
    OutcomeRun,
    Reply,
    ResolvedRun,
    SettledWrite,
    SourceFloor,
    UpFrame,
    VectorCount,
    Welcome,
    Writes,
)
from mkrpc.link.recovery import Arbitrated, BookKey, EndedLegs, Resent, SourceBook
from mkrpc.outcome import Outcome
from mkrpc.v1 import interconnect_pb2 as data
from mkrpc.v1 import types_pb2 as types
from mkrpc.x86.apic_base import ApicMode

U32 = st.integers(0, 2**32 - 1)
U64 = st.integers(0, 2**64 - 1)
REGISTER = st.integers(0, 2**256 - 1)
TEXT = st.text(max_size=20)
IDENTITY = st.binary(min_size=16, max_size=16)
OUTCOME = st.sampled_from(Outcome)
MODE = st.sampled_from(ApicMode).map(int)


def few(elements):
    return st.lists(elements, max_size=4)


ADDRESSES = st.builds(
    CpuAddress,
    cpu=U32,
    apic_id=U32,
    mode=MODE,
    xapic_id=U32,
    ldr=U32,
    dfr=U32,
    software_enabled=st.booleans(),
)
ACCOUNTS = st.builds(
    CpuAccount,
    cpu=U32,
    irr=REGISTER,
    isr=REGISTER,
    tpr=U32,
    ppr=U32,
    interrupts_enabled=st.booleans(),
    activity=TEXT,
    multikernel=U64,
    vectors=few(st.builds(VectorCount, U32, U64, U64, U64, U64, U64)),
    stats=st.dictionaries(U32, U64, max_size=4),
)
VIEWS = st.builds(
    CpuView,
    account=ACCOUNTS,
    apic_id=U32,
    mode=MODE,
    registers=st.dictionaries(TEXT, U64, max_size=4),
)
RUNS = st.tuples(st.integers(1, 2**64 - 1), st.integers(1, 2**64 - 1)).map(
    lambda pair: ResolvedRun(min(pair), max(pair))
)
EVENTS = st.one_of(
    st.builds(Writes, cpu=U32, first_seq=U64, words=few(U64), command=U64, stamp=U64),
    st.builds(SettledWrite, cpu=U32, seq=U64, word=U64, outcome=OUTCOME, command=U64, stamp=U64),
    ADDRESSES,
)
BOOKS = st.builds(
    SourceBook,
    st.builds(BookKey, st.one_of(st.just(b""), IDENTITY), U32, U32, U32, U32),
    few(st.builds(EndedLegs, OUTCOME, U64)).map(tuple),
)
RECORDS = st.builds(LogRecord, number=U64, level=U32, time_us=U64, cpu=U32, text=TEXT)
REPLIES = st.builds(
    Reply,
    command=U64,
    error=TEXT,
    reason=TEXT,
    advice=TEXT,
    text=TEXT,
    written=U64,
    cpus=few(VIEWS),
    records=few(RECORDS),
    records_dropped=U64,
)
HELLOS = st.builds(
    Hello,
    wire_version=U32,
    instance_id=U32,
    name=TEXT,
    incarnation=IDENTITY,
    pid=U32,
    cpus=few(ADDRESSES).map(tuple),
    tell_resolved=st.booleans(),
    epoch=U64,
    generation=U32,
    received=U64,
    born=U64,
    roster=U64,
    resolved_below=U64,
    sent=U64,
)
UP_FRAMES = st.builds(
    UpFrame,
    frame=U64,
    ack=U64,
    more=st.booleans(),
    events=few(EVENTS),
    applied=U64,
    outcomes=few(st.builds(OutcomeRun, U64, U32, OUTCOME)),
    accounts=few(ACCOUNTS),
    resolved=few(RUNS),
    replies=few(REPLIES),
    beat=U64,
    books=few(BOOKS),
    arbitrated=few(st.builds(Arbitrated, IDENTITY, U64, U32)),
    recovered=st.booleans(),
)
LEGS = st.tuples(
    IDENTITY, few(st.tuples(U64, U64, U32)), st.sampled_from(Resent), st.booleans()
).map(
    lambda made: Legs(
        made[0], *([leg[column] for leg in made[1]] for column in range(3)), made[2], made[3]
    )
)
COMMANDS = st.builds(
    Command,
    number=U64,
    kind=st.sampled_from(CommandKind),
    cpu=U32,
    word=U64,
    count=U64,
    action=TEXT,
)
DOWN_FRAMES = st.builds(
    DownFrame,
    frame=U64,
    ack=U64,
    floors=few(st.builds(SourceFloor, IDENTITY, few(RUNS).map(tuple))),
    legs=few(LEGS),
    resolved=few(RUNS),
    commands=few(COMMANDS),
    beat=U64,
    roster=U64,
    books=few(BOOKS),
    partial=st.booleans(),
)
GOODBYES = st.builds(Goodbye, TEXT, st.booleans())
UP = st.one_of(HELLOS, UP_FRAMES, GOODBYES)
DOWN = st.one_of(
    st.builds(Welcome, U32, U64, U32, U64, st.booleans(), U64, TEXT, st.booleans(), U64, U64),
    DOWN_FRAMES,
    GOODBYES,
)


@given(UP)
def test_what_an_instance_says_survives_the_wire(message):
    assert decode_up(encode_up(message)) == message


@given(DOWN)
def test_what_the_interconnect_says_survives_the_wire(message):
    assert decode_down(encode_down(message)) == message


def filled(kind: Any, counter: Iterator[int]) -> Any:
    """A value of a type with every field set, no two numbers alike, made from its annotations."""
    kind = next((each for each in get_args(kind) if type(None) in get_args(kind)), kind)
    if kind in (int, bool, str, bytes):
        number = next(counter)
        return {int: number, bool: True, str: f"text {number}", bytes: b"%016d" % number}[kind]
    if kind in (Outcome, CommandKind, Resent):
        return list(kind)[-1]
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is dict:
        return {filled(arguments[0], counter): filled(arguments[1], counter)}
    if origin in (list, tuple, Sequence):
        members = get_args(arguments[0]) or arguments[:1]
        values = [filled(member, counter) for member in members if member is not Ellipsis]
        return tuple(values) if origin is tuple else values
    hints = get_type_hints(kind)
    made = {name: filled(hint, counter) for name, hint in hints.items()}
    if "mode" in made:
        made["mode"] = int(ApicMode.X2APIC)
    if {"first", "last"} <= made.keys():
        made["last"] = made["first"] + next(counter)
    return kind(**made)


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


EDITS = few(st.tuples(st.sampled_from(["flip", "cut", "insert", "repeat"]), U32, st.binary()))


def edited(message: bytes, edits: list[tuple[str, int, bytes]]) -> bytes:
    """The message after a few random accidents."""
    for kind, where, junk in edits:
        at = where % (len(message) + 1)
        match kind:
            case "flip":
                rest = message[at:]
                message = message[:at] + bytes([rest[0] ^ (where % 255 + 1)] if rest else [])
                message += rest[1:]
            case "cut":
                message = message[:at] + message[at + len(junk) :]
            case "insert":
                message = message[:at] + junk + message[at:]
            case "repeat":
                message += message[at:]
    return message


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
