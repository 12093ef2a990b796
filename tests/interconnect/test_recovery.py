"""What an interconnect that takes over accepts, and what cannot be (design 3.3, rule 4)."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from mkrpc.errors import (
    FencedError,
    InvalidArgumentError,
    MkrpcError,
    ProtocolError,
    UnavailableError,
)
from mkrpc.fault import Fault, FaultKind
from mkrpc.interconnect.apic_bus import ApicBus
from mkrpc.interconnect.bucket import Rate, Rates
from mkrpc.interconnect.lease import LEASE_US
from mkrpc.interconnect.ledger import Party, RowKey
from mkrpc.interconnect.policy import Policy, SourceKind
from mkrpc.interconnect.session import Session
from mkrpc.interconnect.takeover import BookRow, Incarnation, Takeover
from mkrpc.link.frames import (
    NOBODY,
    WIRE_VERSION,
    CpuAddress,
    Hello,
    OutcomeRun,
    ResolvedRun,
    SettledWrite,
    UpFrame,
    Writes,
)
from mkrpc.link.recovery import Arbitrated, BookKey, EndedLegs, SourceBook
from mkrpc.outcome import Outcome
from mkrpc.x86.apic_base import ApicMode
from mkrpc.x86.icr import DeliveryMode, fixed

BEFORE, NOW = 11, 12
BOB = b"b" * 16
WORD = fixed(0, 0x41)


def hello(number: int = 0, **changes: Any) -> Hello:
    return Hello(
        **{
            "wire_version": WIRE_VERSION,
            "instance_id": number,
            "name": f"kernel{number}",
            "incarnation": bytes([number + 1] * 16),
            "pid": 100 + number,
            "cpus": (CpuAddress(0, number, int(ApicMode.X2APIC), 0, 0, 0, True),),
            "epoch": BEFORE,
            "generation": 1,
            "born": number + 1,
            "roster": 5,
            "resolved_below": 4,
            "sent": 9,
        }
        | changes
    )


def incarnation(number: int, **changes: Any) -> Incarnation:
    known = Incarnation(
        incarnation=bytes([number + 1] * 16),
        instance_id=number,
        name=f"kernel{number}",
        pid=100 + number,
        born=number + 1,
        apic_ids=(number,),
    )
    return replace(known, **changes)


def bus(expected: int = 1, **changes: Any) -> ApicBus:
    takeover = Takeover(
        epochs=(BEFORE,), expected=tuple(incarnation(n) for n in range(expected)), roster=5
    )
    made = ApicBus(
        epoch=NOW, policy=Policy.named("bare-metal"), takeover=replace(takeover, **changes)
    )
    made.advance(0)
    return made


def taken_over(**changes: Any) -> tuple[ApicBus, Session]:
    made = bus()
    session = made.attach(hello(**changes))
    return made, session


def book(**changes: Any) -> SourceBook:
    key = BookKey(BOB, 1, 1, 0, 0x41)._replace(**changes)
    return SourceBook(key, (EndedLegs(Outcome.DELIVERED, 2),))


RECOVERED = UpFrame(recovered=True)
TOO_MANY_LEGS = SourceBook(book().key, (EndedLegs(Outcome.DELIVERED, 1 << 40),))


def say(made: ApicBus, session: Session, *frames: UpFrame) -> None:
    for frame in frames:
        frame.frame = session.link.received + 1
        made.receive(session, replace(frame))


def test_the_welcome_of_a_takeover() -> None:
    made, session = taken_over()
    welcome = made.welcome(session)
    assert (welcome.epoch, welcome.taken_over, welcome.resumed, welcome.received) == (
        NOW,
        True,
        False,
        0,
    )
    assert (welcome.born, welcome.roster) == (1, 5)


def test_gaps_in_what_is_sent_again_are_resolved_up_to_the_first_that_is_new() -> None:
    made, session = taken_over()
    say(made, session, RECOVERED)
    say(
        made,
        session,
        UpFrame(events=[Writes(0, 5, [WORD], stamp=2), Writes(0, 8, [WORD], stamp=3)]),
    )
    assert session.last_seq == 8
    say(made, session, UpFrame(events=[Writes(0, 10, [WORD])]))
    assert session.last_seq == 10
    assert session.unsettled == 3
    with pytest.raises(ProtocolError, match="write 12 came after write 10"):
        say(made, session, UpFrame(events=[Writes(0, 12, [WORD])]))


@pytest.mark.parametrize(
    ("frames", "says"),
    [
        ([UpFrame(events=[Writes(0, 10, [WORD])])], "before the books are complete"),
        ([RECOVERED, UpFrame(books=[book()])], "nobody has asked for"),
        ([RECOVERED, UpFrame(arbitrated=[Arbitrated(BOB, 1, 0)])], "nobody has asked for"),
        ([RECOVERED, RECOVERED], "nobody has asked for"),
        ([UpFrame(books=[book(delivery_mode=9)], recovered=True)], "books that cannot be"),
        ([UpFrame(books=[book(vector=256)], recovered=True)], "books that cannot be"),
        ([UpFrame(books=[SourceBook(book().key, ())], recovered=True)], "books that cannot be"),
        ([UpFrame(books=[TOO_MANY_LEGS], recovered=True)], "books that cannot be"),
        ([UpFrame(arbitrated=[Arbitrated(BOB, 1, 9)])], "no CPU 9"),
        ([RECOVERED, UpFrame(events=[Writes(0, 3, [WORD], stamp=1)])], "write 3 came again"),
        ([RECOVERED, UpFrame(events=[Writes(0, 9, [WORD] * 2, stamp=1)])], "write 9 came again"),
        ([RECOVERED, UpFrame(events=[Writes(0, 9, [WORD])])], "write 9 came after write 3"),
        (
            [RECOVERED, UpFrame(events=[Writes(0, 10, [WORD]), Writes(0, 11, [WORD], stamp=1)])],
            "write 11 came again",
        ),
        (
            [RECOVERED, UpFrame(events=[SettledWrite(0, 11, WORD, Outcome.DELIVERED, stamp=1)])],
            "called delivered",
        ),
    ],
)
def test_what_one_that_is_taken_over_cannot_say(frames: list[UpFrame], says: str) -> None:
    made, session = taken_over()
    with pytest.raises(ProtocolError, match=says):
        say(made, session, *frames)


@pytest.mark.parametrize(
    ("made", "comes", "error", "says"),
    [
        (bus, hello(resolved_below=11), ProtocolError, "below 11 are resolved, it says, of 9"),
        (bus, hello(resolved_below=0), ProtocolError, "below 0 are resolved"),
        (bus, hello(roster=1 << 40), ProtocolError, "roster number 1099511627776"),
        (bus, hello(born=1 << 40), ProtocolError, "roster number 1099511627776"),
        (bus, hello(epoch=99), FencedError, "another interconnect"),
        (bus, hello(1, epoch=0, generation=0), UnavailableError, "0 of 1 instances are back"),
        (lambda: bus(0), hello(), FencedError, "another interconnect"),
        (
            lambda: bus(ended=(incarnation(3, reason="gone", ended=4),)),
            hello(3),
            FencedError,
            "is over: gone",
        ),
    ],
)
def test_who_is_not_taken_over(
    made: Callable[[], ApicBus], comes: Hello, error: type[MkrpcError], says: str
) -> None:
    with pytest.raises(error, match=says):
        made().attach(comes)


def test_books_have_no_more_rows_than_a_source_keeps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mkrpc.interconnect.recovery.MAX_SOURCE_BOOK_ROWS", 4)
    made, session = taken_over()
    say(made, session, *[UpFrame(books=[book()]) for _ in range(5)])
    with pytest.raises(ProtocolError, match="6 rows of books, 4 may be"):
        say(made, session, UpFrame(books=[book()]))


def test_no_more_is_arbitrated_than_an_instance_remembers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mkrpc.interconnect.resent.MAX_REMEMBERED", 4)
    made, session = taken_over()
    say(made, session, UpFrame(arbitrated=[Arbitrated(BOB, seq, 0) for seq in range(1, 5)]))
    with pytest.raises(ProtocolError, match="more than 4 writes"):
        say(made, session, UpFrame(arbitrated=[Arbitrated(BOB, 5, 0)]))


def test_only_legs_that_may_have_come_before_are_lost_by_the_living() -> None:
    made, session = taken_over()
    say(made, session, RECOVERED)
    say(made, session, UpFrame(events=[Writes(0, 9, [WORD], stamp=2), Writes(0, 10, [WORD])]))
    frame = made.next_frame(session)
    assert [(legs.seqs, bool(legs.resent)) for legs in frame.legs] == [([9], True), ([10], False)]
    lost = Outcome.LOST_INTERCONNECT_RESTART
    say(made, session, UpFrame(applied=1, outcomes=[OutcomeRun(1, 1, lost)]))
    assert made.totals().lost == 1
    with pytest.raises(ProtocolError, match="calls a leg lost"):
        say(made, session, UpFrame(applied=2, outcomes=[OutcomeRun(2, 1, lost)]))


def test_what_is_sent_again_finds_room_in_a_full_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may have been accepted before: to refuse it would be to say that it was not."""
    made, session = taken_over()
    session._queue_limit = 0
    monkeypatch.setattr("mkrpc.interconnect.legs.QUEUE_PER_SOURCE", 0)
    say(made, session, RECOVERED)
    say(made, session, UpFrame(events=[Writes(0, 9, [WORD], stamp=2), Writes(0, 10, [WORD])]))
    assert session.legs.waiting == 1
    assert made.totals().rejected == 1


def test_what_has_passed_before_passes_again() -> None:
    """Neither a bucket that is empty nor a fault strikes what an earlier interconnect let pass."""
    made = ApicBus(
        epoch=NOW,
        policy=Policy.named("bare-metal", rates=Rates(instances=Rate(1, 1), clients=Rate(1, 7))),
        takeover=Takeover(epochs=(BEFORE,), expected=(incarnation(0),), roster=5),
    )
    session = made.attach(hello())
    made.set_fault(Fault(kind=FaultKind.DROP))
    say(made, session, RECOVERED, UpFrame(events=[Writes(0, 5, [WORD] * 5, stamp=2)]))
    assert session.legs.waiting == 5
    made.inject(
        client_id=b"c" * 16,
        first_seq=1,
        word=WORD,
        count=7,
        resolved_below=1,
        again=True,
        roster=2,
        on_done=lambda _: None,
    )
    assert session.legs.waiting == 12
    assert made.totals().rejected == 0


def test_a_source_publishes_what_it_knows_though_nobody_here_has_seen_it_resolved() -> None:
    made, session = taken_over()
    say(made, session, RECOVERED, UpFrame(resolved=[ResolvedRun(1, 9)]))
    with pytest.raises(ProtocolError, match="published as resolved and are not"):
        say(made, session, UpFrame(resolved=[ResolvedRun(1, 10)]))


def test_a_source_that_ends_before_it_has_said_all_has_the_rows_that_were_kept() -> None:
    alice = Party(SourceKind.INSTANCE, 0, "kernel0", bytes([1] * 16))
    key = RowKey(alice, None, NOBODY, DeliveryMode.FIXED, 0x41)
    kept = BookRow(key, 3, ((Outcome.REJECTED_NO_SUCH_APIC, 2),))
    made = bus(rows=(kept,))
    session = made.attach(hello())
    say(made, session, UpFrame(books=[book()]))
    assert made.totals().written == 0
    made.detach(session, "killed")
    totals = made.totals()
    assert (totals.written, totals.rejected, totals.lost) == (3, 2, 1)
    assert made.recovering is None


def test_the_longest_lease_that_was_ever_granted_is_waited_for() -> None:
    made = bus(lease_us=2 * LEASE_US)
    assert made.recovering == (0, 1, 2 * LEASE_US)
    while made.recovering is not None:
        made.advance(made.deadline_us)
    assert made.now_us == 2 * LEASE_US


def test_time_in_which_nobody_looked_opens_no_barrier() -> None:
    made = bus()
    made.advance(60_000_000)
    assert made.recovering is not None


def test_what_ends_as_the_barrier_opens_by_time_is_answered_then() -> None:
    made = bus()
    answered: list[Any] = []
    tally = made.inject(
        client_id=BOB,
        first_seq=1,
        word=WORD,
        count=1,
        resolved_below=1,
        on_done=answered.append,
    )
    while made.recovering is not None:
        made.advance(made.deadline_us)
    assert answered == [tally]


def test_a_client_cannot_bear_the_incarnation_of_one_that_may_come_back() -> None:
    made = bus()
    with pytest.raises(InvalidArgumentError, match="incarnation of an instance"):
        made.inject(
            client_id=hello().incarnation,
            first_seq=1,
            word=WORD,
            count=1,
            resolved_below=1,
            on_done=lambda _: None,
        )
    assert made.attach(hello()).alive


def test_one_that_is_back_and_silent_does_not_keep_the_barrier_closed() -> None:
    """It has a lease of its own, which may be held by beats alone for long."""
    made, session = taken_over()
    while made.recovering is not None:
        made.advance(made.deadline_us, [session.hello.incarnation])
    assert session.alive
    assert session.recovering
    say(made, session, UpFrame(books=[book()], recovered=True))
    assert made.totals().written == 2


def test_one_that_was_taken_over_and_has_not_heard_so_may_come_again_behind_an_open_barrier() -> (
    None
):
    made, session = taken_over()
    while made.recovering is not None:
        made.advance(made.deadline_us, [session.hello.incarnation])
    assert made.attach(hello(generation=2, received=7)) is session
    assert made.welcome(session).taken_over
    with pytest.raises(FencedError):
        made.attach(hello(1))


def test_a_source_that_dies_is_forgotten_up_to_what_it_had_ever_sent() -> None:
    _, session = taken_over()
    assert (session.last_seq, session.highest_seq) == (3, 9)
