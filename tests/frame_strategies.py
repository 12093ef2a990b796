"""Frames of every kind, and accidents that happen to their bytes."""

from array import array
from collections.abc import Iterator, Sequence
from typing import Any, get_args, get_origin, get_type_hints

from hypothesis import strategies as st

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
from mkrpc.x86.apic_base import ApicMode

U32 = st.integers(0, 2**32 - 1)
U64 = st.integers(0, 2**64 - 1)
REGISTER = st.integers(0, 2**256 - 1)
TEXT = st.text(max_size=20)
IDENTITY = st.binary(min_size=16, max_size=16)
BOOLEANS = st.booleans()
RESENT = st.sampled_from(Resent)
OUTCOME = st.sampled_from(Outcome)
MODE = st.sampled_from(ApicMode).map(int)


def few(elements):
    return st.lists(elements, max_size=4)


def column(elements):
    """Of a frame: the empty one is the same in all frames."""
    return few(elements).map(lambda made: made or ())


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
    events=column(EVENTS),
    applied=U64,
    outcomes=column(st.builds(OutcomeRun, U64, U32, OUTCOME)),
    accounts=column(ACCOUNTS),
    resolved=column(RUNS),
    replies=column(REPLIES),
    beat=U64,
    books=column(BOOKS),
    arbitrated=column(st.builds(Arbitrated, IDENTITY, U64, U32)),
    recovered=st.booleans(),
)
LEGS = st.tuples(IDENTITY, few(st.tuples(U64, U64, U32)), RESENT, BOOLEANS).map(
    lambda made: Legs(
        made[0], *([leg[column] for leg in made[1]] for column in range(3)), made[2], made[3]
    )
)


@st.composite
def dense_legs(draw: st.DrawFn, resent: bool = True) -> Legs:
    """Legs in columns that travel as bytes; ``resent``: also such as come again, or arbitrated."""
    count = draw(st.integers(1, 40))
    first = draw(st.one_of(st.integers(1, 1 << 62), st.integers(2**64 - 80_000, 2**64 - 40_000)))
    seqs: Sequence[int] = range(first, first + count)
    if draw(st.booleans()):
        gaps = draw(st.lists(st.integers(1, 1000), min_size=count, max_size=count))
        seqs = array("Q", [first + sum(gaps[1 : index + 1]) for index in range(count)])
    words = array("Q", draw(st.lists(U64, min_size=count, max_size=count)))
    cpus = array("I", draw(st.lists(st.integers(0, 511), min_size=count, max_size=count)))
    if draw(st.booleans()):
        cpus = array("I", [draw(st.integers(0, 511))] * count)
    if not resent:
        return Legs(draw(IDENTITY), seqs, words, cpus)
    return Legs(draw(IDENTITY), seqs, words, cpus, draw(RESENT), draw(BOOLEANS))


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
    floors=column(st.builds(SourceFloor, IDENTITY, few(RUNS).map(tuple))),
    legs=column(st.one_of(LEGS, dense_legs())),
    resolved=column(RUNS),
    commands=column(COMMANDS),
    beat=U64,
    roster=U64,
    books=column(BOOKS),
    partial=st.booleans(),
)
GOODBYES = st.builds(Goodbye, TEXT, st.booleans())
UP = st.one_of(HELLOS, UP_FRAMES, GOODBYES)
DOWN = st.one_of(
    st.builds(Welcome, U32, U64, U32, U64, st.booleans(), U64, TEXT, st.booleans(), U64, U64),
    DOWN_FRAMES,
    GOODBYES,
)


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
