"""Design 3.5: what a source writes beyond its rate is one leg to nobody, and in the books."""

from collections import Counter
from typing import Any

import pytest

from mkrpc.interconnect.bucket import Rate, Rates
from mkrpc.interconnect.policy import Policy
from mkrpc.link.frames import NOBODY, Writes
from mkrpc.outcome import Outcome
from mkrpc.trace import IcrWritten, LegEnded
from mkrpc.x86.icr import Shorthand, fixed, init_assert, shorthand_word, startup

LIMITED = Outcome.REJECTED_RATE_LIMITED


def limited(machine: Any, *instances: tuple[int, ...], sink: Any = None, **rates: Any) -> Any:
    return machine(*instances, policy=Policy.named("bare-metal", rates=Rates(**rates)), sink=sink)


def outcomes(wire: Any) -> dict[tuple[int | None, int], dict[Outcome, int]]:
    """By source instance and APIC id."""
    return {(row.key.source.instance_id, row.key.apic_id): row.outcomes for row in wire.bus.ledger}


def test_a_burst_passes_and_the_rest_is_refused(machine: Any) -> None:
    wire = limited(machine, (0,), (1,), by_id={0: Rate(2000, 50)})
    for peer in wire.peers:
        peer.write(fixed(1 - peer.hello.instance_id, 0xEA), count=80)
        peer.push()
    wire.settle()
    assert outcomes(wire) == {
        (0, 1): {Outcome.DELIVERED: 50},
        (0, NOBODY): {LIMITED: 30},
        (1, 0): {Outcome.DELIVERED: 80},
    }
    assert [peer.session.unsettled for peer in wire.peers] == [0, 0]
    assert wire.bus.balance() == []


def test_time_fills_the_bucket(machine: Any) -> None:
    wire = limited(machine, (0,), (1,), instances=Rate(2000, 50))
    alice = wire.peers[0]
    for now_us in (0, 10_000, 10_499, 10_500, 1_000_000):
        wire.bus.advance(now_us)
        alice.write(fixed(1, 0xEA), count=60)
        alice.push()
    wire.settle()
    assert outcomes(wire)[0, 1] == {Outcome.DELIVERED: 50 + 20 + 0 + 1 + 50}
    assert outcomes(wire)[0, NOBODY] == {LIMITED: 300 - 121}


def test_a_new_incarnation_begins_with_what_the_last_one_has_left(machine: Any) -> None:
    wire = limited(machine, (0,), (1,), instances=Rate(1, 10))
    wire.peers[0].write(fixed(1, 0xEA), count=10)
    wire.peers[0].push()
    wire.peers[0].die()
    again = wire.attach(0, (0,))
    again.write(fixed(1, 0xEA), count=5)
    again.push()
    assert outcomes(wire)[0, NOBODY] == {LIMITED: 5}


def test_a_broadcast_is_one_write(machine: Any) -> None:
    wire = limited(machine, (0,), (1, 2, 3), instances=Rate(1, 2))
    wire.peers[0].write(shorthand_word(Shorthand.ALL_EXCLUDING_SELF, 0xEA), count=3)
    wire.peers[0].push()
    wire.settle()
    found = outcomes(wire)
    assert [found[0, apic_id] for apic_id in (1, 2, 3)] == [{Outcome.DELIVERED: 2}] * 3
    assert found[0, NOBODY] == {LIMITED: 1}


def test_what_passes_stays_in_order(machine: Any) -> None:
    """Design 3.2: a refused INIT is not made up for later, behind its SIPI."""
    wire = limited(machine, (0,), (1,), instances=Rate(1_000, 3))
    alice, bob = wire.peers
    words = [fixed(1, 0x31), init_assert(1), startup(1, 8), fixed(1, 0x32), init_assert(1)]
    for word in words:
        alice.write(word)
    alice.push()
    wire.bus.advance(2_000)
    alice.write(startup(1, 9))
    alice.push()
    wire.settle()
    assert [word for _, _, word, _ in bob.legs] == [*words[:3], startup(1, 9)]
    assert [seq for _, seq, _, _ in bob.legs] == [1, 2, 3, 6]


def test_the_books_tell_refused_vectors_and_modes_apart(machine: Any) -> None:
    wire = limited(machine, (0,), (1,), instances=Rate(1, 1))
    alice = wire.peers[0]
    words = [fixed(1, 0x31), fixed(1, 0x31), fixed(7, 0x31), init_assert(1), fixed(1, 0x32)]
    alice.send(events=[Writes(0, 1, words)])
    rows = {
        (row.key.mode.name, row.key.vector): row.outcomes[LIMITED]
        for row in wire.bus.ledger
        if row.key.apic_id == NOBODY
    }
    assert rows == {("FIXED", 0x31): 2, ("INIT", 0): 1, ("FIXED", 0x32): 1}


def test_who_watches_sees_each_run_of_equal_words_once(machine: Any) -> None:
    events: list[Any] = []
    wire = limited(machine, (0,), (1,), sink=events.append, instances=Rate(1, 1))
    alice = wire.peers[0]
    alice.send(events=[Writes(0, 1, [fixed(1, 0x31)] * 4 + [fixed(1, 0x32)] * 2)])
    written = [(e.seq, e.count) for e in events if isinstance(e, IcrWritten)]
    ended = [(e.seq, e.count, e.outcome) for e in events if isinstance(e, LegEnded)]
    assert written == [(1, 1), (2, 3), (5, 2)]
    assert ended == [(2, 3, LIMITED), (5, 2, LIMITED)]


@pytest.mark.parametrize("count", [1, 100, 4096, 100_000])
def test_clients_share_one_bucket_and_every_call_is_answered(machine: Any, count: int) -> None:
    wire = limited(machine, (0,), clients=Rate(1, 30))
    first = wire.inject(fixed(0, 0xEA), count=count, client_id=bytes(15) + b"a")
    second = wire.inject(fixed(0, 0xEA), count=count, client_id=bytes(15) + b"b")
    wire.settle()
    assert first.done
    assert second.done
    legs = Counter(first.legs) + Counter(second.legs)
    passed = min(2 * count, 30)
    assert legs[0, 0, Outcome.DELIVERED] == passed
    assert legs[NOBODY, None, LIMITED] == 2 * count - passed
    assert wire.bus.balance() == []


def test_a_repeated_call_takes_no_second_token(machine: Any) -> None:
    wire = limited(machine, (0,), clients=Rate(1, 2))
    calls = [wire.inject(fixed(0, 0xEA), seq=1) for _ in range(5)]
    wire.settle()
    assert [call.legs[0, 0, Outcome.DELIVERED] for call in calls] == [1] * 5
    assert wire.bus.buckets.of(None).passed == 1


def test_a_command_to_write_is_answered_with_what_was_refused(machine: Any) -> None:
    wire = limited(machine, (0,), (1,), instances=Rate(1, 2))
    answers: list[Any] = []
    tally = wire.bus.write_icr(apic_id=0, word=fixed(1, 0xEA), count=5, on_done=answers.append)
    alice = wire.peers[0]
    alice.pull()
    alice.write(fixed(1, 0xEA), count=5, command=alice.commands[0].number)
    alice.push()
    assert tally.legs == {(NOBODY, None, LIMITED): 3}
