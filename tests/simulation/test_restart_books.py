"""The books outlive the interconnect: by the sources, by what was kept, or by name (design 3.4)."""

from typing import Any

import pytest
from simulation.restart_machine import TO_BOB, TO_CAROL, RestartMachine, play

from mkrpc.interconnect.unbooked import UNKNOWN
from mkrpc.outcome import Outcome
from mkrpc.x86.icr import fixed


def machine(**options: Any) -> RestartMachine:
    return RestartMachine(**options)


def test_writes_in_books_that_were_published_by_several_frames(monkeypatch: Any) -> None:
    monkeypatch.setattr("mkrpc.instance.resending.MAX_FRAME_BOOKS", 2)
    monkeypatch.setattr("mkrpc.interconnect.telling.MAX_FRAME_BOOKS", 2)
    monkeypatch.setattr("mkrpc.interconnect.telling.MAX_FRAME_RUNS", 2)
    m = machine()
    for vector in range(0x41, 0x4A):
        m.nodes[0].ring(fixed(2, vector))
        m.nodes[0].ring(fixed(5, vector))
    m.settle()
    m.tell_all()
    m.check()
    assert len(list(m.nodes[0].attachment.books)) == 18
    m.restart()
    m.settle()
    m.check()


def test_a_series_that_is_cut_in_the_middle_counts_for_nothing(monkeypatch: Any) -> None:
    """Else what is in the books would be sent again, and be booked twice."""
    monkeypatch.setattr("mkrpc.interconnect.telling.MAX_FRAME_BOOKS", 2)
    m = machine()
    alice = m.nodes[0]
    for vector in range(0x41, 0x46):
        alice.ring(fixed(2, vector))
    play(m, "uda")
    alice.session._tell_from = 1
    assert alice.fetch()
    assert alice.kernel.source.resolved_below == 1
    assert not list(alice.attachment.books)
    m.restart()
    m.settle()
    m.tell_all()
    m.check()
    assert len(m.nodes[1].applied) == 5


def test_rows_of_the_dead_and_their_last_accounting_are_kept() -> None:
    m = machine()
    m.nodes[2].ring(TO_BOB, 3)
    m.settle()
    dead = m.kill(2).kernel.incarnation
    m.settle()
    mirrored = m.bus.mirrored(2)
    rows = [
        (row.key, row.written, row.outcomes)
        for row in m.bus.ledger
        if row.key.source.identity == dead
    ]
    m.restart()
    m.settle()
    m.check()
    again = [
        (row.key, row.written, row.outcomes)
        for row in m.bus.ledger
        if row.key.source.identity == dead
    ]
    assert again == rows != []
    assert m.bus.mirrored(2) == mirrored


def test_a_source_that_dies_with_the_interconnect_has_what_was_kept_and_the_rest_is_lost() -> None:
    m = machine()
    carol = m.nodes[2]
    carol.ring(TO_BOB, 3)
    m.settle()
    carol.ring(TO_BOB, 2)
    carol.send()
    m.keeper.keep(m.bus, rows=True)
    m.restart(back=False)
    del m.nodes[2]
    for node in m.nodes.values():
        node.come()
    m.bus.process_ended(2, 1, "killed")
    m.settle()
    m.check()
    lost = Outcome.LOST_INTERCONNECT_RESTART_MAYBE_DELIVERED
    rows = [row for row in m.bus.ledger if row.key.source.identity == carol.kernel.incarnation]
    assert [(row.written, row.outcomes[lost]) for row in rows] == [(5, 2)]


def test_legs_that_are_in_nobody_s_books_are_booked_by_name() -> None:
    m = machine(lazy=True)
    carol = m.nodes[2]
    carol.ring(TO_BOB, 3)
    m.settle()
    m.restart(back=False)
    del m.nodes[2]
    for node in m.nodes.values():
        node.come()
    m.bus.process_ended(2, 1, "killed")
    m.settle()
    assert m.bus.balance() == []
    rows = [row for row in m.bus.ledger if row.key.source == UNKNOWN]
    delivered = m.nodes[1].delivered()
    assert [(row.key.apic_id, row.key.vector, row.written) for row in rows] == [
        (2, 0x41, delivered)
    ]
    assert delivered == 3
    # Whatever goes missing from here on is found.
    m.nodes[0].ring(TO_BOB, 1)
    m.settle()
    assert m.bus.balance() == []
    row = next(row for row in m.bus.ledger if row.key.source.instance_id == 0)
    row.written, row.outcomes = 0, {}
    assert m.bus.balance()


def test_what_is_kept_are_the_rows_of_the_ledger_whatever_is_folded(monkeypatch: Any) -> None:
    monkeypatch.setattr("mkrpc.interconnect.ledger.MAX_FINISHED_INCARNATIONS", 1)
    m = machine()
    for life in range(2, 7):
        m.kill(1)
        m.boot(1, life)
        m.nodes[0].ring(TO_BOB, life)
        m.nodes[1].ring(fixed(0, 0x42), life)
        m.settle()
        kept = {key: (row.written, dict(row.outcomes)) for key, row in m.keeper.rows.items()}
        assert kept == {row.key: (row.written, row.outcomes) for row in m.bus.ledger}
    assert any(not row.key.source.identity for row in m.bus.ledger)
    before = m.bus.totals()
    m.tell_all()
    m.restart()
    m.settle()
    assert m.bus.balance() == []
    assert m.bus.totals() == before


def written_by(m: RestartMachine, incarnation: bytes) -> int:
    return sum(row.written for row in m.bus.ledger if row.key.source.identity == incarnation)


def restart_without(m: RestartMachine, number: int) -> None:
    """An instance dies together with the interconnect."""
    m.restart(back=False)
    del m.nodes[number]
    for node in m.nodes.values():
        node.come()
    m.bus.process_ended(number, 1, "killed")
    m.settle()


def test_what_was_kept_of_a_source_is_gone_once_it_has_said_more() -> None:
    """What is sent again may be booked elsewhere; the row of then must not count as well."""
    m = machine()
    alice = m.nodes[0]
    alice.ring(TO_BOB, 5)
    play(m, "u")
    m.keeper.keep(m.bus, rows=True)
    restart_without(m, 1)
    m.tell_all()
    assert written_by(m, alice.kernel.incarnation) == 5
    restart_without(m, 0)
    assert written_by(m, alice.kernel.incarnation) == 5


def test_rows_that_are_folded_at_the_beginning_are_gone_from_what_was_kept(
    monkeypatch: Any,
) -> None:
    m = machine()
    m.nodes[2].ring(TO_BOB, 3)
    m.settle()
    m.kill(2)
    m.settle()
    monkeypatch.setattr("mkrpc.interconnect.ledger.MAX_FINISHED_INCARNATIONS", 0)
    for _ in range(2):
        m.restart()
        m.settle()
        assert sum(row.written for row in m.bus.ledger) == 3
        m.check()


def open_by_time(m: RestartMachine, silent: int) -> None:
    """All say what they know, but one, whose lease is held by beats past its stream."""
    while m.bus.recovering is not None:
        m.now_us = m.bus.deadline_us or 0
        m.bus.advance(m.now_us, [node.kernel.incarnation for node in m.nodes.values()])
        for node in m.nodes.values():
            node.attachment.beat_answered(m.now_us)
            node.attachment.advance(m.now_us)
            while node.number != silent and (node.send() or node.fetch()):
                pass


def test_rows_of_one_that_died_are_not_folded_while_its_legs_are_in_flight(
    monkeypatch: Any,
) -> None:
    monkeypatch.setattr("mkrpc.interconnect.ledger.MAX_FINISHED_INCARNATIONS", 0)
    m = machine()
    m.restart()
    open_by_time(m, silent=1)
    m.nodes[2].ring(TO_BOB, 5)
    m.nodes[2].send()
    m.kill(2)
    m.settle()
    m.check()
    assert sum(row.written for row in m.bus.ledger) == 5


def test_nothing_is_unknown_or_amiss_while_one_has_not_said_what_it_counts() -> None:
    m = machine()
    m.nodes[0].ring(TO_BOB, 5)
    m.settle()
    m.tell_all()
    m.restart()
    open_by_time(m, silent=1)
    assert m.bus.balance() == []
    m.settle()
    m.check()
    assert not [row for row in m.bus.ledger if row.key.source == UNKNOWN]


def test_what_came_by_an_earlier_interconnect_is_forgotten_too() -> None:
    """Though its source never rings the same instance again."""
    m = machine()
    m.nodes[0].ring(TO_BOB, 500)
    m.settle()
    m.tell_all()
    m.restart()
    m.settle()
    memory = m.nodes[1].kernel.outcomes
    assert len(memory) == 500
    for _ in range(3):
        m.nodes[0].ring(TO_CAROL, 500)
        m.settle()
    m.tell_all()
    m.nodes[2].ring(TO_BOB, 1)
    m.settle()
    assert len(memory) == 1


@pytest.mark.parametrize("apart", [1, 3, 512])
def test_what_is_kept_of_clients_does_not_grow_with_their_number(
    monkeypatch: pytest.MonkeyPatch, apart: int
) -> None:
    """However many of their rows are kept apart before they are put together."""
    monkeypatch.setattr("mkrpc.interconnect.changes.ROWS_APART", apart)
    m = machine()
    for number in range(20):
        client = bytes([0xC0, number]) * 8
        m.bus.inject(
            client_id=client,
            first_seq=1,
            word=TO_BOB,
            count=1,
            resolved_below=1,
            on_done=lambda _: None,
        )
        m.settle()
        m.bus.forget_client(client)
    m.settle()
    assert len({row.key for row in m.keeper.client_rows}) == 1
    assert sum(row.written for row in m.keeper.client_rows) == 20
    m.restart()
    m.settle()
    m.check()
