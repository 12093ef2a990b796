"""A source's own books: sums of what it was told, in bounded space (design 3.4)."""

import pytest

from mkrpc.link import source_books as module
from mkrpc.link.frames import NOBODY
from mkrpc.link.recovery import TO_NOBODY, TO_OVERFLOW, BookKey, EndedLegs, SourceBook
from mkrpc.link.source_books import SourceBooks
from mkrpc.outcome import Outcome

BOB, HIS_NEXT_LIFE = b"b" * 16, b"B" * 16


def told(destination: bytes, vector: int, count: int = 1, instance_id: int = 1) -> SourceBook:
    key = BookKey(destination, instance_id, 2, 0, vector)
    return SourceBook(key, (EndedLegs(Outcome.DELIVERED, count),))


def total(books: SourceBooks) -> int:
    return sum(legs.count for book in books for legs in book.outcomes)


def test_what_is_told_adds_up_by_row_and_outcome() -> None:
    books = SourceBooks()
    books.add([told(BOB, 0x41, 2), told(BOB, 0x42)])
    books.add([SourceBook(told(BOB, 0x41).key, (EndedLegs(Outcome.COALESCED, 4),))])
    books.add([told(BOB, 0x41, 3)])
    assert {book.key.vector: book.outcomes for book in books} == {
        0x41: (EndedLegs(Outcome.DELIVERED, 5), EndedLegs(Outcome.COALESCED, 4)),
        0x42: (EndedLegs(Outcome.DELIVERED, 1),),
    }


def test_at_the_limit_earlier_incarnations_are_folded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_SOURCE_BOOK_ROWS", 4)
    books = SourceBooks()
    books.add([told(BOB, 0x41), told(BOB, 0x42), told(b"", NOBODY, instance_id=TO_NOBODY)])
    books.add([told(HIS_NEXT_LIFE, 0x41)])
    books.add([told(HIS_NEXT_LIFE, 0x42)])
    assert total(books) == 5
    rows = {(book.key.destination, book.key.vector) for book in books}
    assert (b"", 0x41) in rows
    assert (HIS_NEXT_LIFE, 0x41) in rows
    assert (BOB, 0x41) not in rows


def test_what_finds_no_room_is_in_one_row_and_no_count_is_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MAX_SOURCE_BOOK_ROWS", 4)
    books = SourceBooks()
    for vector in range(0x41, 0x51):
        books.add([told(BOB, vector)])
    assert len(books) == 5
    assert total(books) == 16
    beyond = [book for book in books if book.key.instance_id == TO_OVERFLOW]
    assert beyond[0].outcomes == (EndedLegs(Outcome.DELIVERED, 12),)


def test_a_full_book_is_not_searched_for_every_new_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_SOURCE_BOOK_ROWS", 4)
    folds = []
    fold = SourceBooks._fold
    monkeypatch.setattr(SourceBooks, "_fold", lambda books: folds.append(1) or fold(books))
    books = SourceBooks()
    books.add([told(BOB, vector) for vector in range(0x41, 0x81)])
    assert not folds
    books.add([told(HIS_NEXT_LIFE, vector) for vector in range(0x41, 0x81)])
    assert len(folds) == 1
    assert total(books) == 128
