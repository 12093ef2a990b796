"""Legs that an earlier interconnect may have handed over (design 3.3, rules 3 and 4)."""

from typing import Any

import pytest

from mkrpc.interconnect.ledger import EARLIER_CLIENTS, Row, RowKey
from mkrpc.interconnect.legs import Batch, LegQueue, LegRun
from mkrpc.interconnect.registry import Registry
from mkrpc.interconnect.resent import ResentWrites
from mkrpc.interconnect.roster_count import RosterCount
from mkrpc.interconnect.targets import Write
from mkrpc.link.frames import NOBODY
from mkrpc.link.recovery import Resent
from mkrpc.outcome import Outcome
from mkrpc.x86.icr import DeliveryMode, DestinationMode, decode, fixed, icr_word

TO_BOB = fixed(2, 0x41)
BOB_OR_HIS_SECOND = icr_word(
    vector=0x51, destination=NOBODY, delivery_mode=DeliveryMode.LOWEST_PRIORITY
)


@pytest.mark.parametrize(
    ("resent", "outcome"),
    [
        (Resent.NO, Outcome.LOST_TARGET_DEAD),
        (Resent.IN_ORDER, Outcome.LOST_TARGET_DEAD_MAYBE_DELIVERED),
        (Resent.BORN_LATER, Outcome.LOST_TARGET_DEAD_MAYBE_DELIVERED),
        (Resent.ANY_ORDER, Outcome.LOST_TARGET_DEAD_MAYBE_DELIVERED),
    ],
)
def test_a_leg_that_waits_for_the_dead_may_have_come_before(
    resent: Resent, outcome: Outcome
) -> None:
    """It has not been handed over here; if it comes again, nobody knows about the time before."""
    queue = LegQueue()
    run = LegRun(
        batch=Batch(
            source=EARLIER_CLIENTS,
            first_seq=1,
            count=1,
            word=TO_BOB,
            lanes=1,
            tally=None,
            on_resolved=lambda first, last, ended: None,
        ),
        lane=0,
        row=Row(RowKey(EARLIER_CLIENTS, None, 2, DeliveryMode.FIXED, 0x41)),
        instance_id=1,
        cpu=0,
        apic_id=2,
        first_seq=1,
        count=1,
        resent=resent,
    )
    queue.enqueue(run)
    ended: list[Any] = []
    queue.abandon(lambda *leg: ended.append(leg))
    assert ended == [(run, outcome)]


@pytest.mark.parametrize("instances", [((0,),), ((0, 1), (2, 3))], ids=["one", "several"])
def test_whoever_gets_an_ipi_of_lowest_priority_is_told_so(machine: Any, instances: Any) -> None:
    """Even the only one that it names: when another interconnect arbitrates, there may be more, and
    it asks who has had it."""
    wire = machine(*instances)
    wire.inject(BOB_OR_HIS_SECOND)
    wire.inject(fixed(0, 0x41), seq=2)
    frames = [wire.bus.next_frame(peer.session) for peer in wire.peers]
    marks = [(legs.words[0], legs.arbitrated) for frame in frames if frame for legs in frame.legs]
    assert sorted(marks) == [(fixed(0, 0x41), False), (BOB_OR_HIS_SECOND, True)]


@pytest.mark.parametrize("mode", DestinationMode)
def test_what_names_nobody_when_it_comes_again(mode: DestinationMode) -> None:
    """Whom it named may have had it, and have written its id, its LDR or its mode since."""
    word = icr_word(vector=0x41, destination=2, destination_mode=mode)
    write = Write(
        source=EARLIER_CLIENTS,
        apic_id=None,
        first_seq=1,
        count=1,
        word=word,
        tally=None,
        on_resolved=lambda first, last, ended: None,
        stamp=1,
    )
    resent = ResentWrites(registry=Registry(), count=RosterCount(), unheard=lambda: False)
    assert [leg.refusal for leg in resent.targets(write, decode(word), [])] == [
        Outcome.LOST_INTERCONNECT_RESTART_MAYBE_DELIVERED
    ]
