"""Writes that get no further than the interconnect, as the books have them: by mode and vector."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mkrpc.interconnect import ledger as ledger_module
from mkrpc.interconnect import refusing
from mkrpc.interconnect.ledger import Ledger, Party
from mkrpc.interconnect.policy import SourceKind
from mkrpc.interconnect.refusing import RefusedWrites
from mkrpc.link.frames import NOBODY
from mkrpc.outcome import Outcome
from mkrpc.x86.icr import DeliveryMode, decode, fixed, nmi, startup

LIMITED = Outcome.REJECTED_RATE_LIMITED
ALICE = Party(SourceKind.CLIENT, None, "alice", b"a" * 16)
BOB = Party(SourceKind.INSTANCE, 1, "bob", b"b" * 16)
WORDS = st.sampled_from([fixed(1, 0x41), fixed(2, 0x41), fixed(1, 0x42), nmi(1), startup(3, 8)])


@given(st.lists(st.tuples(st.sampled_from([ALICE, BOB]), st.lists(WORDS, min_size=1, max_size=30))))
def test_each_is_a_leg_to_nobody_in_the_row_of_its_mode_and_vector(
    frames: list[tuple[Party, list[int]]],
) -> None:
    books, expected = Ledger(), Counter()
    refused = RefusedWrites(books)
    for source, words in frames:
        ended = refused.book(source, words, LIMITED)
        assert sum(count for _, _, count in ended) == len(words)
        for word in words:
            icr = decode(word)
            vector = 0 if icr.delivery_mode is DeliveryMode.NMI else icr.vector
            expected[source, icr.delivery_mode, vector] += 1
    assert all(row.key.destination is None and row.key.apic_id == NOBODY for row in books)
    found = {(row.key.source, row.key.mode, row.key.vector): row.written for row in books}
    assert found == expected
    assert all(row.outcomes == {LIMITED: row.written} for row in books)


def test_a_row_that_was_folded_is_not_written_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "MAX_FINISHED_CLIENTS", 0)
    books = Ledger()
    refused = RefusedWrites(books)
    refused.book(ALICE, [fixed(1, 0x41)] * 3, LIMITED)
    books.finish(ALICE)
    refused.book(ALICE, [fixed(1, 0x41)] * 4, LIMITED)
    assert books.totals(in_flight=0).rejected == 7
    assert [row.written for row in books.rows_of(ALICE)] == [4]


def test_rows_are_looked_up_again_when_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusing, "MAX_KNOWN_ROWS", 2)
    books = Ledger()
    refused = RefusedWrites(books)
    for vector in (0x41, 0x42, 0x43, 0x41):
        refused.book(ALICE, [fixed(1, vector)], LIMITED)
    assert sorted(row.written for row in books) == [1, 1, 2]
    assert len(refused._rows) <= 2
