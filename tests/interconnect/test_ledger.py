"""The books, and that folding old parties together loses nothing."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mkrpc.interconnect import ledger as ledger_module
from mkrpc.interconnect.ledger import (
    EARLIER_CLIENTS,
    OVERFLOW,
    Ledger,
    Party,
    Row,
    RowKey,
    Totals,
)
from mkrpc.interconnect.policy import SourceKind
from mkrpc.link.frames import NOBODY
from mkrpc.outcome import Outcome
from mkrpc.x86.icr import DeliveryMode

FIXED = DeliveryMode.FIXED


def client(number: int) -> Party:
    return Party(SourceKind.CLIENT, None, "client", number.to_bytes(16, "big"))


def incarnation(instance_id: int, life: int) -> Party:
    identity = (instance_id << 32 | life).to_bytes(16, "big")
    return Party(SourceKind.INSTANCE, instance_id, f"kernel{instance_id}", identity)


def opened(ledger: Ledger, source: Party, destination: Party | None, vector: int = 0xEA) -> Row:
    apic_id = NOBODY if destination is None else 4
    row = ledger.row(RowKey(source, destination, apic_id, FIXED, vector))
    assert row is not None
    return row


def test_a_row_is_opened_once_and_found_again() -> None:
    ledger = Ledger()
    row = opened(ledger, client(1), incarnation(1, 1))
    assert opened(ledger, client(1), incarnation(1, 1)) is row
    assert opened(ledger, client(1), None) is not row
    assert len(ledger) == 2


def test_totals_are_by_kind_and_balance_only_with_what_is_in_flight() -> None:
    ledger = Ledger()
    row = opened(ledger, client(1), incarnation(1, 1))
    ledger.book(row, 10)
    ends = [
        Outcome.DELIVERED,
        Outcome.DELIVERED,
        Outcome.COALESCED,
        Outcome.REJECTED_NO_SUCH_APIC,
        Outcome.REJECTED_BACKPRESSURE,
        Outcome.LOST_TARGET_DEAD,
    ]
    for outcome in ends:
        ledger.settle(row, outcome, 1)
    totals = ledger.totals(in_flight=4)
    assert totals == Totals(10, 2, 1, 2, 1, 4)
    assert totals.balanced
    assert not ledger.totals(in_flight=3).balanced


@pytest.mark.parametrize(
    ("mode", "kept"),
    [
        (DeliveryMode.FIXED, 0x41),
        (DeliveryMode.LOWEST_PRIORITY, 0x41),
        (DeliveryMode.STARTUP, 0x41),
        (DeliveryMode.NMI, 0),
        (DeliveryMode.INIT, 0),
        (DeliveryMode.SMI, 0),
    ],
)
def test_the_vector_is_zero_in_modes_that_ignore_it(mode: DeliveryMode, kept: int) -> None:
    assert Ledger.vector_of(mode, 0x41) == kept


def test_the_oldest_finished_clients_are_folded_into_one_party() -> None:
    ledger = Ledger()
    target = incarnation(1, 1)
    count = ledger_module.MAX_FINISHED_CLIENTS + 10
    for number in range(count):
        row = opened(ledger, client(number), target)
        ledger.book(row, 2)
        ledger.settle(row, Outcome.DELIVERED, 2)
        ledger.finish(client(number))
    assert len(ledger) == ledger_module.MAX_FINISHED_CLIENTS + 1
    folded = ledger.rows_of(EARLIER_CLIENTS)
    assert [(row.written, row.outcomes) for row in folded] == [(20, {Outcome.DELIVERED: 20})]
    assert ledger.rows_of(client(0)) == []
    assert ledger.rows_of(client(10)) != []
    assert ledger.totals(in_flight=0) == Totals(written=2 * count, delivered=2 * count)


def test_a_client_that_writes_again_keeps_its_rows() -> None:
    ledger = Ledger()
    row = opened(ledger, client(0), None)
    ledger.finish(client(0))
    ledger.resume(client(0))
    for number in range(1, ledger_module.MAX_FINISHED_CLIENTS + 5):
        opened(ledger, client(number), None)
        ledger.finish(client(number))
    assert ledger.rows_of(client(0)) == [row]


def test_dead_incarnations_are_folded_per_instance_on_both_sides() -> None:
    ledger = Ledger()
    host = incarnation(0, 1)
    for life in range(ledger_module.MAX_FINISHED_INCARNATIONS + 3):
        dead = incarnation(1 + life % 2, life)
        for row in (opened(ledger, host, dead), opened(ledger, dead, host)):
            ledger.book(row, 1)
            ledger.settle(row, Outcome.LOST_TARGET_DEAD, 1)
        ledger.finish(dead)
    folded = {
        (row.key.source.name, row.key.destination.name): row.written
        for row in ledger
        if row.key.destination and not (row.key.source.identity and row.key.destination.identity)
    }
    assert folded == {
        ("kernel0", "earlier incarnations of instance 1"): 2,
        ("earlier incarnations of instance 1", "kernel0"): 2,
        ("kernel0", "earlier incarnations of instance 2"): 1,
        ("earlier incarnations of instance 2", "kernel0"): 1,
    }


def test_at_the_limit_of_rows_finished_parties_go_first_then_rows_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ledger_module, "MAX_ROWS", 3)
    ledger = Ledger()
    for number in range(3):
        ledger.book(opened(ledger, client(number), None), 1)
    ledger.finish(client(0))
    ledger.finish(client(1))
    opened(ledger, client(3), None)
    opened(ledger, client(6), None)
    assert {row.key.source for row in ledger} == {EARLIER_CLIENTS, *map(client, (2, 3, 6))}
    assert ledger.row(RowKey(client(4), None, NOBODY, FIXED, 0xEA)) is None
    overflow = ledger.overflow_row(client(4))
    assert overflow.is_overflow
    assert Row(replace(overflow.key, destination=replace(OVERFLOW))).is_overflow, "as from a file"
    assert overflow.key.source == client(4)
    assert ledger.overflow_row(client(4)) is overflow
    assert ledger.overflow_row(client(5)) is not overflow
    itself = incarnation(1, 1)
    assert ledger.row(RowKey(itself, itself, 4, FIXED, 0xEA)), "a self IPI has happened already"


def test_clients_that_have_gone_take_no_rows_from_others_however_they_swept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They are one party, whose rows the CPUs and vectors of the machine bound; for that, rows to
    the dead melt together."""
    monkeypatch.setattr(ledger_module, "MAX_ROWS", 3)
    monkeypatch.setattr(ledger_module, "MAX_FINISHED_CLIENTS", 0)
    ledger = Ledger()
    for number in range(5):
        opened(ledger, client(number), incarnation(1, 1), 0x41 + number)
        ledger.finish(client(number))
    assert len(ledger) == 5
    opened(ledger, incarnation(2, 1), incarnation(1, 1))
    for life in range(2, 9):
        opened(ledger, client(life), incarnation(3, life))
        ledger.finish(incarnation(3, life))
        ledger.finish(client(life))
    assert len(ledger) == 7, "five vectors, one of a kernel, one for all lives that have ended"


def test_one_source_has_its_share_of_the_rows_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "MAX_ROWS_PER_SOURCE", 2)
    ledger = Ledger()
    target, life = incarnation(1, 1), incarnation(2, 1)
    for vector in (0x41, 0x42):
        opened(ledger, life, target, vector)
    third = RowKey(life, target, 4, FIXED, 0x43)
    assert ledger.row(third) is None
    assert ledger.row(RowKey(life, life, 4, FIXED, 0x43)), "its rows to itself do not count"
    assert opened(ledger, client(1), target)
    ledger.overflow_row(life)
    ledger._fold(target)
    assert ledger.row(third) is None, "folded rows are still its rows"


def test_rows_that_melt_into_one_leave_room_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "MAX_ROWS_PER_SOURCE", 2)
    ledger = Ledger()
    host = incarnation(0, 1)
    for life in (1, 2):
        opened(ledger, host, incarnation(1, life))
        ledger._fold(incarnation(1, life))
    opened(ledger, host, incarnation(1, 3))
    assert ledger.row(RowKey(host, incarnation(1, 4), 4, FIXED, 0xEA)) is None


def test_rows_that_do_not_count_leave_room_for_those_that_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An instance that rings itself on all vectors takes no rows from others."""
    monkeypatch.setattr(ledger_module, "MAX_ROWS", 2)
    ledger = Ledger()
    itself = incarnation(1, 1)
    for vector in range(16, 256):
        opened(ledger, itself, itself, vector)
    opened(ledger, client(1), itself)
    ledger.overflow_row(client(1))
    opened(ledger, client(2), itself)
    assert ledger.row(RowKey(client(3), itself, 4, FIXED, 0xEA)) is None
    ledger._fold(client(1))
    ledger._fold(client(2))
    opened(ledger, client(3), itself)


def test_the_row_beyond_the_limits_folds_with_its_source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "MAX_FINISHED_CLIENTS", 0)
    ledger = Ledger()
    for number in (1, 2):
        row = ledger.overflow_row(client(number))
        ledger.book(row, 3)
        ledger.settle(row, Outcome.REJECTED_BACKPRESSURE, 3)
        ledger.finish(client(number))
    (row,) = ledger
    assert (row.key.source, row.is_overflow, row.written) == (EARLIER_CLIENTS, True, 6)


@given(
    st.lists(
        st.tuples(
            st.integers(0, 5),
            st.one_of(st.none(), st.integers(0, 5)),
            st.sampled_from(list(Outcome)),
            st.integers(1, 9),
        ),
        max_size=40,
    ),
    st.lists(st.integers(0, 5), max_size=8),
)
def test_folding_never_changes_the_totals(
    legs: list[tuple[int, int | None, Outcome, int]], finished: list[int]
) -> None:
    ledger = Ledger()
    parties = [client(0), client(1), *(incarnation(1 + n % 2, n) for n in range(4))]
    for source, destination, outcome, count in legs:
        end = incarnation(3, 1) if destination is None else parties[destination]
        row = opened(ledger, parties[source], end if end.kind is SourceKind.INSTANCE else None)
        ledger.book(row, count)
        ledger.settle(row, outcome, count)
    before = ledger.totals(in_flight=0)
    assert before.balanced
    for number in finished:
        ledger._fold(parties[number])  # the limit that calls it is tested above
        assert ledger.totals(in_flight=0) == before
        assert ledger.rows_of(parties[number]) == []
