"""The limits of the bus, their named outcomes, and that one instance cannot use up another's."""

from dataclasses import replace
from typing import Any

import pytest

from mkrpc.errors import LimitReachedError
from mkrpc.interconnect import cpu_owners as cpu_owners_module
from mkrpc.interconnect import gone_clients, known_clients
from mkrpc.interconnect import legs as legs_module
from mkrpc.interconnect import session as session_module
from mkrpc.interconnect.injected_words import MAX_COUNT
from mkrpc.link import source
from mkrpc.link.frames import CpuAddress, ResolvedRun
from mkrpc.outcome import Outcome
from mkrpc.x86.apic_base import ApicMode
from mkrpc.x86.icr import Shorthand, fixed, shorthand_word


def test_a_full_queue_refuses_by_name_and_others_are_not_affected(
    machine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "QUEUE_LIMIT", 10)
    monkeypatch.setattr(session_module, "QUEUE_PER_CPU", 1)
    monkeypatch.setattr(legs_module, "QUEUE_PER_SOURCE", 0)
    wire = machine((0,), (1,), (2,))
    tally = wire.inject(shorthand_word(Shorthand.ALL_INCLUDING_SELF, 0xEA), count=10)
    for peer in (wire.peers[0], wire.peers[2]):
        peer.pull()
    more = wire.inject(shorthand_word(Shorthand.ALL_INCLUDING_SELF, 0xEA), count=4, seq=11)
    assert more.legs == {(1, 1, Outcome.REJECTED_BACKPRESSURE): 4}
    assert wire.bus.balance() == []
    wire.settle()
    assert tally.legs == {(n, n, Outcome.DELIVERED): 10 for n in range(3)}
    assert more.legs == {
        (0, 0, Outcome.DELIVERED): 4,
        (1, 1, Outcome.REJECTED_BACKPRESSURE): 4,
        (2, 2, Outcome.DELIVERED): 4,
    }


def test_a_burst_fills_what_room_there_is_and_the_rest_is_refused(
    machine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "QUEUE_LIMIT", 10)
    monkeypatch.setattr(session_module, "QUEUE_PER_CPU", 1)
    monkeypatch.setattr(legs_module, "QUEUE_PER_SOURCE", 0)
    wire = machine((0, 1), (2,))
    wire.peers[1].write(shorthand_word(Shorthand.ALL_EXCLUDING_SELF, 0xEA), count=8)
    wire.peers[1].push()
    wire.settle()
    outcomes = {row.key.apic_id: row.outcomes for row in wire.bus.ledger}
    each = {Outcome.DELIVERED: 5, Outcome.REJECTED_BACKPRESSURE: 3}
    assert outcomes == {0: each, 1: each}, "two CPUs share a queue of ten"
    assert wire.peers[1].session.unsettled == 0
    assert wire.bus.balance() == []


@pytest.mark.parametrize("greedy", [1, 2, 8])
def test_however_many_flood_an_instance_that_hangs_the_next_source_finds_room(
    machine: Any, monkeypatch: pytest.MonkeyPatch, greedy: int
) -> None:
    """Design 3.5: who waits for its window is not refused for what others do."""
    monkeypatch.setattr(session_module, "QUEUE_LIMIT", 5000)
    monkeypatch.setattr(session_module, "QUEUE_PER_CPU", 1)
    wire = machine((0,), *((number,) for number in range(1, greedy + 2)))
    *flooding, calm = wire.peers[1:]
    for peer in flooding:
        for _ in range(7):
            peer.write(fixed(0, 0xEA), count=4096)
            peer.push()
    assert wire.bus.totals().rejected > 0
    for _ in range(8):
        calm.write(fixed(0, 0xEA), count=source.WRITE_WINDOW // 8)
        calm.push()
    rows = {row.key.source: row.outcomes for row in wire.bus.ledger}
    assert rows[calm.session.party] == {}
    assert wire.peers[0].session.legs.waiting <= 5000 + (greedy + 1) * source.WRITE_WINDOW
    wire.settle()
    assert rows[calm.session.party] == {Outcome.DELIVERED: source.WRITE_WINDOW}
    assert wire.bus.balance() == []


@pytest.mark.parametrize("cpus", [1, 64, 128])
def test_a_window_of_broadcasts_finds_room_however_many_cpus_it_goes_to(
    machine: Any, cpus: int
) -> None:
    """The limit counts legs, and a write to an instance has one for each of its CPUs."""
    wire = machine((0,), tuple(range(100, 100 + cpus)))
    alice = wire.peers[0]
    alice.write(shorthand_word(Shorthand.ALL_EXCLUDING_SELF, 0xEA), count=source.WRITE_WINDOW)
    alice.push()
    assert wire.peers[1].session.legs.waiting == cpus * source.WRITE_WINDOW
    assert wire.bus.totals().rejected == 0


def test_the_queue_of_an_instance_with_many_cpus_has_a_limit_too(machine: Any) -> None:
    wire = machine((0,), tuple(range(100, 164)))
    limit = session_module.QUEUE_PER_CPU
    everybody = shorthand_word(Shorthand.ALL_INCLUDING_SELF, 0xEA)
    for n in range(1 + limit // 4096):
        wire.inject(everybody, count=4096, seq=1 + 4096 * n)
    assert wire.peers[1].session.legs.waiting == 64 * limit
    assert wire.bus.totals().rejected == 64 * 4096
    assert wire.bus.balance() == []


def test_the_ledgers_overflow_row_refuses_by_name(
    machine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mkrpc.interconnect.ledger.MAX_ROWS", 2)
    wire = machine((0,), (1,))
    for vector in range(0x41, 0x45):
        wire.peers[0].write(fixed(1, vector))
    wire.settle()
    overflow = wire.bus.ledger.overflow_row(wire.peers[0].session.party)
    assert (overflow.written, overflow.outcomes) == (2, {Outcome.REJECTED_BACKPRESSURE: 2})
    assert wire.bus.balance() == []
    assert wire.peers[0].session.unsettled == 0


def test_a_source_that_sweeps_takes_no_rows_from_others(
    machine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that is its own is within its quota, or in its own row beyond it."""
    monkeypatch.setattr("mkrpc.interconnect.ledger.MAX_ROWS", 20)
    monkeypatch.setattr("mkrpc.interconnect.ledger.MAX_ROWS_PER_SOURCE", 10)
    wire = machine((0,), (1,))
    sweeper, other = wire.peers
    for vector in range(16, 256):
        sweeper.write(fixed(1, vector))
    other.write(fixed(0, 0xEA))
    wire.settle()
    rows = wire.bus.ledger.rows_of(sweeper.session.party)
    beyond = wire.bus.ledger.overflow_row(sweeper.session.party)
    assert len(rows) == 10 + 1 + 1, "its quota, the row beyond it, and the other's to it"
    assert (beyond.written, beyond.outcomes) == (230, {Outcome.REJECTED_BACKPRESSURE: 230})
    assert wire.bus.totals().delivered == 10 + 1
    assert wire.bus.balance() == []


@pytest.mark.pure
def test_an_address_that_changes_between_writes_is_all_that_is_looked_at_again(
    machine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One CPU that rewrites its LDR for ever must not hold up the bus: not the whole map anew."""
    wire = machine((0,), tuple(range(100, 200)))
    alice = wire.peers[0]
    for n in range(50):
        mode, ldr = int(ApicMode.XAPIC), n % 8 << 24
        alice.events.append(replace(alice.hello.cpus[0], mode=mode, ldr=ldr, dfr=0xFFFF_FFFF))
        alice.write(fixed(1 << n % 8, 0xEA, logical=True))
    looked_at = []
    original = cpu_owners_module._apic_address

    def counted(address: CpuAddress) -> Any:
        looked_at.append(address.cpu)
        return original(address)

    monkeypatch.setattr(cpu_owners_module, "_apic_address", counted)
    alice.push()
    assert looked_at == [0] * 50
    wire.settle()
    assert wire.bus.balance() == []


def test_the_highest_numbers_of_a_client_are_made_and_forgotten_like_any_others(
    machine: Any,
) -> None:
    """A client may number its writes by a clock: what that costs does not grow with the numbers."""
    wire = machine((0,), (1,))
    seq = (1 << 62) - MAX_COUNT - 1
    assert wire.inject(fixed(1, 0xEA), count=2, seq=seq).written == 2
    wire.settle()
    wire.bus.forget_client(b"client----------")
    wire.inject(fixed(1, 0xEA), client_id=b"another client--")
    wire.settle()
    assert wire.peers[1].floors == {b"client----------": (ResolvedRun(1, seq + 1),)}


def test_clients_that_called_one_that_hangs_and_went_keep_no_others_out(
    machine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known_clients, "MAX_CLIENTS", 2)
    monkeypatch.setattr(gone_clients, "MAX_GONE_CLIENTS", 2)
    wire = machine((0,), (1,))
    hangs, well = wire.peers
    ids = [bytes([number]) * 16 for number in range(9)]
    to_hung = fixed(0, 0xEA)
    waits = wire.inject(to_hung, client_id=ids[0])
    single: dict[str, Any] = {
        "client_id": ids[1],
        "first_seq": 1,
        "words": to_hung.to_bytes(8, "little"),
        "resolved_below": 1,
        "on_done": lambda answer: None,
    }
    wire.bus.abandon(wire.bus.inject_singles(**single))
    wire.bus.abandon(wire.inject(to_hung, client_id=ids[2]))
    again = wire.bus.inject_words(**single)
    assert again.repeated, "it had gone, and comes back"
    wire.bus.abandon(again)
    wire.bus.abandon(wire.inject(to_hung, client_id=ids[3]))
    with pytest.raises(LimitReachedError, match="clients have calls without an answer"):
        wire.inject(fixed(1, 0xEA), client_id=ids[4])
    hangs.pull()
    hangs.answer()
    hangs.push()
    assert waits.done
    assert wire.bus.balance() == []
    for number in range(4, 8):
        assert not wire.inject(fixed(1, 0xEA), client_id=ids[number]).repeated
        well.pull()
        well.answer()
        well.push()
    assert not wire.inject(to_hung, client_id=ids[2]).repeated, "forgotten once it was answered"


def test_one_that_hangs_takes_no_room_from_those_who_call_others(
    machine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known_clients, "MAX_CLIENTS", 2)
    monkeypatch.setattr(gone_clients, "MAX_GONE_CLIENTS", 8)
    monkeypatch.setattr(gone_clients, "MAX_GONE_FROM_ONE", 3)
    wire = machine((0,), (1,), (2,))
    hangs, well, _ = wire.peers
    ids = iter(bytes([number]) * 16 for number in range(99))

    def call(word: int, *, singly: bool = False) -> Any:
        if not singly:
            return wire.inject(word, client_id=next(ids))
        return wire.bus.inject_singles(
            client_id=next(ids),
            first_seq=1,
            words=word.to_bytes(8, "little"),
            resolved_below=1,
            on_done=lambda answer: None,
        )

    for number in range(5):  # two are known, and three have gone
        wire.bus.abandon(call(fixed(0, 0xEA), singly=number % 2 == 0))
    for word in (fixed(0, 0x31), shorthand_word(Shorthand.ALL_INCLUDING_SELF, 0xEA)):
        with pytest.raises(
            LimitReachedError, match=r"3 clients have called instance 0 \(kernel0\)"
        ):
            call(word)
    with pytest.raises(LimitReachedError, match="instance 0"):
        call(fixed(0, 0xEA), singly=True)
    for _ in range(20):
        tally = call(fixed(1, 0xEA))
        well.pull()
        well.answer()
        well.push()
        assert tally.done
    hangs.pull()
    hangs.answer()
    hangs.push()
    assert not call(fixed(0, 0xEA)).done, "it is called again once it has answered"
    assert wire.bus.balance() == []


def test_what_has_gone_from_an_instance_that_ends_is_forgotten(
    machine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known_clients, "MAX_CLIENTS", 1)
    monkeypatch.setattr(gone_clients, "MAX_GONE_FROM_ONE", 1)
    wire = machine((0,), (1,))
    ids = [bytes([number]) * 16 for number in range(4)]
    for each in ids[:2]:
        wire.bus.abandon(wire.inject(fixed(0, 0xEA), client_id=each))
    with pytest.raises(LimitReachedError, match="instance 0"):
        wire.inject(fixed(0, 0xEA), client_id=ids[2])
    wire.peers[0].die()
    wire.attach(0, (0,))
    assert not wire.inject(fixed(0, 0xEA), client_id=ids[3]).done
    assert wire.bus.balance() == []
