"""What a source is told of its writes: resolved and books together, in frames of bounded size."""

import pytest

from mkrpc.interconnect import telling as module
from mkrpc.interconnect.ledger import OVERFLOW, Party, Row, RowKey
from mkrpc.interconnect.policy import SourceKind
from mkrpc.interconnect.telling import Telling, book_key
from mkrpc.link.frames import NOBODY, DownFrame, ResolvedRun
from mkrpc.link.recovery import TO_NOBODY, TO_OVERFLOW, BookKey, EndedLegs, SourceBook
from mkrpc.outcome import Outcome
from mkrpc.x86.icr import DeliveryMode

ALICE = Party(SourceKind.INSTANCE, 0, "alice", b"a" * 16)
BOB = Party(SourceKind.INSTANCE, 1, "bob", b"b" * 16)


def row(destination: Party | None, vector: int = 0x41, apic_id: int = 2) -> Row:
    return Row(RowKey(ALICE, destination, apic_id, DeliveryMode.FIXED, vector))


def frames(telling: Telling) -> list[DownFrame]:
    told = []
    while telling.begun or telling.gathered:
        told.append(DownFrame())
        telling.take(told[-1])
    return told


@pytest.mark.parametrize(
    ("destination", "expected"),
    [
        (BOB, (b"b" * 16, 1)),
        (None, (b"", TO_NOBODY)),
        (OVERFLOW, (b"", TO_OVERFLOW)),
        (BOB.folded(), (b"", 1)),
    ],
)
def test_every_row_has_a_name_in_the_books_of_its_source(
    destination: Party | None, expected: tuple[bytes, int]
) -> None:
    apic_id = 2 if destination else NOBODY
    assert book_key(row(destination, apic_id=apic_id)) == BookKey(*expected, apic_id, 0, 0x41)


def test_what_gathers_is_told_once() -> None:
    telling, to_bob = Telling(), row(BOB)
    telling.add(1, 3, [(to_bob, Outcome.DELIVERED, 3)])
    telling.add(5, 5, [(to_bob, Outcome.DELIVERED, 1), (row(None), Outcome.LOST_TARGET_DEAD, 1)])
    assert telling.gathered == 4
    (frame,) = frames(telling)
    assert frame.resolved == [ResolvedRun(1, 3), ResolvedRun(5, 5)]
    assert not frame.partial
    assert frame.books[0] == SourceBook(book_key(to_bob), (EndedLegs(Outcome.DELIVERED, 4),))
    assert len(frame.books) == 2
    telling.take(frame := DownFrame())
    assert frame == DownFrame()


def test_what_does_not_fit_is_a_series_of_one_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is resolved meanwhile waits: else it would count before its books have come."""
    monkeypatch.setattr(module, "MAX_FRAME_BOOKS", 2)
    monkeypatch.setattr(module, "MAX_FRAME_RUNS", 3)
    telling = Telling()
    for number in range(5):
        telling.add(2 * number + 1, 2 * number + 1, [(row(BOB, number), Outcome.DELIVERED, 1)])
    first = DownFrame()
    telling.take(first)
    assert telling.begun
    telling.add(2, 2, [(row(BOB, 0x99), Outcome.DELIVERED, 1)])
    rest = frames(telling)
    told = [first, *rest]
    assert [frame.partial for frame in told] == [True, True, False, False]
    assert [len(frame.books) for frame in told] == [2, 2, 1, 1]
    assert [len(frame.resolved) for frame in told] == [3, 2, 0, 1]
    assert told[-1].resolved == [ResolvedRun(2, 2)]
