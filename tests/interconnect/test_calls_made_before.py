"""Calls that clients say they had made before the interconnect died (design 3.3, rules 4 and 6).

Of an instance that comes back it is known what it had outstanding. A client may call everything
so, and be wrong: the limits hold for it all the same, and what is beyond them may have happened.
"""

from typing import Any

import pytest

from mkrpc.interconnect import legs, session
from mkrpc.interconnect.apic_bus import ApicBus
from mkrpc.interconnect.bucket import Rate, Rates
from mkrpc.interconnect.policy import Policy
from mkrpc.interconnect.takeover import Takeover
from mkrpc.outcome import Outcome
from mkrpc.x86.icr import fixed

NOBODY_KNOWS = Outcome.LOST_INTERCONNECT_RESTART_MAYBE_DELIVERED


def taken_over(machine: Any, rates: Rates | None = None) -> Any:
    """A machine whose interconnect has had another before it, and one instance."""
    wire = machine()
    wire.bus = ApicBus(
        epoch=7,
        policy=Policy.named("bare-metal", rates=rates or Rates()),
        takeover=Takeover(epochs=(3,), roster=1),
    )
    wire.peers.append(wire.attach(0, (0,)))
    return wire


def test_what_is_beyond_the_rate_may_have_been_delivered(machine: Any) -> None:
    wire = taken_over(machine, Rates(clients=Rate(1, 3)))
    tally = wire.inject(fixed(0, 0xEA), 7, again=True)
    assert wire.peers[0].session.legs.waiting == 3
    assert (wire.bus.totals().lost, wire.bus.totals().rejected) == (4, 0)
    wire.settle()
    assert sum(tally.legs.values()) == 7
    assert wire.bus.balance() == []


def test_what_is_beyond_the_room_of_a_queue_may_have_been_delivered(
    machine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "QUEUE_LIMIT", 2)
    monkeypatch.setattr(session, "QUEUE_PER_CPU", 1)
    monkeypatch.setattr(legs, "QUEUE_PER_SOURCE", 0)
    wire = taken_over(machine)
    tally = wire.inject(fixed(0, 0xEA), 7, again=True)
    assert wire.peers[0].session.legs.waiting == 2
    assert tally.legs == {(0, 0, NOBODY_KNOWS): 5}
