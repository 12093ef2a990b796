"""Large calls are made in instalments: nobody waits for one client's call to its end."""

from collections.abc import Callable
from typing import Any

import pytest

from mkrpc.interconnect.attachments import Pump
from mkrpc.interconnect.injected_words import MAX_COUNT
from mkrpc.interconnect.instalments import MAX_INSTALMENT
from mkrpc.x86.icr import fixed

RING = fixed(1, 0xEA)
TO_NOBODY = fixed(9, 0xEA)


def test_a_large_call_to_nobody_is_made_in_instalments(machine: Any) -> None:
    """Else everybody would wait for all of it, which takes seconds where each of its writes is
    arbitrated and then refused."""
    wire = machine((0,))
    done: list[Any] = []
    tally = wire.inject(TO_NOBODY, count=MAX_COUNT, on_done=done.append)
    instalments = 1
    while wire.bus.unmade:
        assert (tally.resolved, done) == (instalments * MAX_INSTALMENT, [])
        instalments += 1
        wire.bus.go_on()
    assert instalments == -(-MAX_COUNT // MAX_INSTALMENT)
    assert [each.written for each in done] == [MAX_COUNT]
    assert wire.bus.balance() == []


def test_what_is_made_to_its_end_in_one_waits_for_nothing(machine: Any) -> None:
    wire = machine((0,))
    assert wire.inject(TO_NOBODY, count=MAX_INSTALMENT).done
    assert not wire.bus.unmade


def test_a_large_call_goes_on_as_legs_settle(machine: Any) -> None:
    wire = machine((0,), (1,))
    tally = wire.inject(RING, count=3 * MAX_INSTALMENT + 1)
    wire.settle()
    assert (tally.done, sum(tally.legs.values())) == (True, 3 * MAX_INSTALMENT + 1)
    assert not wire.bus.unmade
    assert wire.bus.balance() == []


class LaterRota:
    """Takes what is submitted for the clients' turn, which does not come by itself."""

    def __init__(self) -> None:
        self.submitted: list[Callable[[], None]] = []

    def submit(self, work: Callable[[], None]) -> None:
        self.submitted.append(work)


@pytest.mark.pure  # a compiled pump takes no other rota
async def test_each_of_them_is_a_turn_of_the_clients(machine: Any) -> None:
    wire = machine((0,))
    pump = Pump(wire.bus)
    rota = pump.rota = LaterRota()
    tally = wire.inject(TO_NOBODY, count=5 * MAX_INSTALMENT)
    turns = 0
    pump.drain()
    while rota.submitted:
        pump.drain()
        (work,) = rota.submitted
        rota.submitted.clear()
        work()
        turns += 1
    assert (turns, tally.done) == (4, True)
