"""Rows of the books over a takeover: whoever has legs to come keeps his own (design 3.3, 3.4)."""

from collections.abc import Callable

import pytest

from mkrpc.errors import ProtocolError
from mkrpc.interconnect import ledger
from mkrpc.interconnect.apic_bus import ApicBus
from mkrpc.interconnect.ledger import Party, RowKey
from mkrpc.interconnect.policy import Policy, SourceKind
from mkrpc.interconnect.session import Session
from mkrpc.interconnect.takeover import BookRow, Incarnation, KeptCall, Takeover
from mkrpc.link.frames import NOBODY, WIRE_VERSION, CpuAddress, Hello, UpFrame, Writes
from mkrpc.link.recovery import TO_NOBODY, BookKey, EndedLegs, SourceBook
from mkrpc.outcome import Outcome
from mkrpc.x86.apic_base import ApicMode
from mkrpc.x86.icr import DeliveryMode, fixed

BEFORE, NOW = 11, 12
ALICE, BOB = b"a" * 16, b"b" * 16
REFUSED = Outcome.REJECTED_NO_SUCH_APIC
AWAY = fixed(99, 0xEA)


def incarnation(number: int) -> bytes:
    return bytes([number + 1] * 16)


def hello(number: int, *, epoch: int = BEFORE) -> Hello:
    before = {"generation": 1, "born": number + 1, "roster": 5, "resolved_below": 1, "sent": 1}
    return Hello(
        wire_version=WIRE_VERSION,
        instance_id=number,
        name=f"kernel{number}",
        incarnation=incarnation(number),
        pid=100 + number,
        cpus=(CpuAddress(0, number, int(ApicMode.X2APIC), 0, 0, 0, True),),
        epoch=epoch,
        **(before if epoch else {}),
    )


def taken_over(calls: tuple[KeptCall, ...] = ()) -> ApicBus:
    """A bus that waits for instances 0 and 1."""
    expected = tuple(
        Incarnation(
            incarnation=incarnation(number),
            instance_id=number,
            name=f"kernel{number}",
            pid=100 + number,
            born=number + 1,
            apic_ids=(number,),
        )
        for number in range(2)
    )
    takeover = Takeover(epochs=(BEFORE,), expected=expected, roster=5, calls=calls)
    bus = ApicBus(epoch=NOW, policy=Policy.bare_metal(), takeover=takeover)
    bus.advance(0)
    return bus


def say(bus: ApicBus, session: Session, frame: UpFrame) -> None:
    frame.frame = session.link.received + 1
    bus.receive(session, frame)


def come_back(bus: ApicBus, number: int, *books: SourceBook) -> Session:
    session = bus.attach(hello(number))
    say(bus, session, UpFrame(books=books, recovered=True))
    return session


def inject(bus: ApicBus, client: bytes, word: int, first_seq: int) -> None:
    bus.inject(
        client_id=client,
        first_seq=first_seq,
        word=word,
        count=1,
        resolved_below=1,
        on_done=lambda _tally: None,
    )


def test_an_outcome_comes_once_in_a_row_of_a_sources_books() -> None:
    """Else the sum of what one source says would be more than the ledger can."""
    bus = taken_over()
    ended = EndedLegs(REFUSED, 1 << 39)
    with pytest.raises(ProtocolError, match="books that cannot be"):
        come_back(bus, 0, SourceBook(BookKey(b"", TO_NOBODY, NOBODY, 0, 0xEA), (ended, ended)))
    assert bus.totals().written == 0


def a_client_that_waits() -> ApicBus:
    """Before, it had an answer; it calls again while the barrier is closed."""
    key = RowKey(Party(SourceKind.CLIENT, None, "client", ALICE), None, NOBODY, DeliveryMode(0), 1)
    row = BookRow(key, 1, ((REFUSED, 1),))
    bus = taken_over((KeptCall(ALICE, 1, 1, AWAY, (((NOBODY, None, REFUSED), 1),), (row,)),))
    inject(bus, ALICE, fixed(1, 0xEA), 2)
    come_back(bus, 0)
    come_back(bus, 1)
    return bus


def an_instance_that_died() -> ApicBus:
    """It came back, sent again what was unresolved, and ended before the barrier opened."""
    bus = taken_over()
    book = SourceBook(BookKey(b"", TO_NOBODY, NOBODY, 0, 0xEA), (EndedLegs(REFUSED, 1),))
    source = come_back(bus, 0, book)
    say(bus, source, UpFrame(events=[Writes(0, 1, [fixed(1, 0xEA)], stamp=2)]))
    bus.detach(source, "killed")
    come_back(bus, 1)
    return bus


def a_client_ends(bus: ApicBus) -> None:
    inject(bus, BOB, AWAY, 1)


def an_instance_ends(bus: ApicBus) -> None:
    session = bus.attach(hello(2, epoch=0))
    say(bus, session, UpFrame(events=[Writes(0, 1, [AWAY])]))
    bus.detach(session, "killed")


@pytest.mark.parametrize(
    ("make", "another_ends"),
    [(a_client_that_waits, a_client_ends), (an_instance_that_died, an_instance_ends)],
    ids=["client", "instance"],
)
def test_rows_of_who_has_waited_behind_the_barrier_are_not_folded_under_its_legs(
    make: Callable[[], ApicBus],
    another_ends: Callable[[ApicBus], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It had none in flight as the barrier opened, and then it had: nobody else's end, which makes
    room by folding, may take the row away that they are in."""
    monkeypatch.setattr(ledger, "MAX_FINISHED_CLIENTS", 1)
    monkeypatch.setattr(ledger, "MAX_FINISHED_INCARNATIONS", 1)
    bus = make()
    assert bus.in_flight() == 1
    another_ends(bus)
    assert bus.balance() == []
    bus.detach(bus.session(1), "killed")
    assert bus.in_flight() == 0
    assert bus.balance() == []
    assert bus.totals().balanced
