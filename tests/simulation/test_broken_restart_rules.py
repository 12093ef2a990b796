"""Each rule of a restarted interconnect, and what goes wrong without it (design 3.3).

As in test_broken_rules.py every run is played twice: with the rule, when all is well, and with the
rule switched off, when the wrong that it is there to prevent happens.
"""

from typing import Any

import pytest
from compiled_model import skip_if_compiled
from simulation.restart_machine import (
    ALL_BUT_SELF,
    LOWEST,
    TO_BOB,
    TO_LOGICAL_BOB,
    Instance,
    RestartMachine,
    had_it,
    play,
    write_ldr,
)

from mkrpc.link.frames import ResolvedRun
from mkrpc.link.memory import OutcomeMemory
from mkrpc.link.recovery import Resent
from mkrpc.link.source import PUBLISH_EVERY
from mkrpc.outcome import Outcome
from mkrpc.x86.apic_base import ApicMode

both = pytest.mark.parametrize("rule", [True, False], ids=["with the rule", "without"])


def switch_off(subject: Any, **instead: Any) -> None:
    """From now on ``subject`` is of a class that is like its own save for some methods."""
    skip_if_compiled(type(subject))
    subject.__class__ = type("Broken", (type(subject),), {"__slots__": ()} | instead)


@both
def test_1_identities_are_never_reused(rule: bool) -> None:
    """Interconnect and instance both die. If the next interconnect handed out the same number
    again, fresh writes would be swallowed as duplicates, and be called delivered."""
    m = RestartMachine()
    alice, bob, _ = m.nodes.values()
    alice.ring(TO_BOB, 3)
    m.settle()
    # A small number that an interconnect gives out: the first source that it sees is 1.
    first = bytes([1, 1] * 8)
    assert alice.kernel.incarnation == first
    del m.keeper.alive[first]
    m.restart(back=False)
    del m.nodes[0]
    for node in m.nodes.values():
        node.come()
    m.settle()
    alice = m.boot(0, 2 if rule else 1)
    alice.ring(TO_BOB, 3)
    m.settle()
    assert m.outcomes(0)[Outcome.DELIVERED] >= 3
    assert len(bob.applied) == (6 if rule else 3)


class Numbers(OutcomeMemory):
    """A destination that remembers which writes it has had, and not how they ended."""

    __slots__ = ()

    def recall(self, source: bytes, seq: int, cpu: int) -> Outcome | None:
        known = super().recall(source, seq, cpu)
        return None if known is None else Outcome.DELIVERED


@both
def test_2_the_destination_remembers_outcomes_and_not_only_numbers(rule: bool) -> None:
    """The outcome died with the interconnect. Who knows only that the write was here has nothing
    true to answer, and a source that gets no answer waits for ever."""
    m = RestartMachine()
    alice, bob, _ = m.nodes.values()
    if not rule:
        skip_if_compiled(OutcomeMemory)
        bob.kernel.outcomes.__class__ = Numbers
    bob.kernel.cpus[0].interrupts_enabled = False
    alice.ring(TO_BOB, 2)
    play(m, "ud")
    assert [outcome for _, _, outcome in bob.applied] == [Outcome.DELIVERED, Outcome.COALESCED]
    m.restart()
    m.settle()
    told = m.outcomes(0)
    assert told[Outcome.COALESCED] == (1 if rule else 0)
    assert (m.bus.balance() == []) is rule


def forget_below(memory: OutcomeMemory, source: bytes, runs: Any) -> None:
    """Instead of the runs that were published: a plain high-water mark."""
    OutcomeMemory.forget(memory, source, [ResolvedRun(1, runs[-1].last)])
    memory._sources[source].forgotten.take()
    memory._sources[source].unknown_above = 0


BETWEEN = 4 * PUBLISH_EVERY
"""Scaled: a million would take a minute, and what is published and forgotten on the way is the
same."""


@both
def test_2_it_forgets_only_what_the_source_has_published(rule: bool) -> None:
    """A broadcast settled at D1 and stuck at a hung D2, many more writes to D1, then a resend. With
    a high-water mark D1 knows the broadcast no more: one of its CPUs is given it again, and what
    the other was given is called lost."""
    m = RestartMachine()
    alice, bob, carol = m.nodes.values()
    if not rule:
        switch_off(bob.kernel.outcomes, forget=forget_below)
    alice.ring(ALL_BUT_SELF)
    for _ in range(BETWEEN // 512):
        alice.ring(TO_BOB, 512)
        while any([alice.send(), bob.fetch(), bob.send(), alice.fetch()]):
            pass
    assert alice.kernel.source.resolved_below == 1
    assert alice.kernel.source.outstanding < PUBLISH_EVERY + 2
    assert bob.kernel.outcomes.remembered(alice.kernel.incarnation) < 2 * PUBLISH_EVERY
    assert not carol.applied
    m.restart()
    m.settle()
    lost = m.outcomes(0)[Outcome.LOST_INTERCONNECT_RESTART]
    assert len(bob.applied) == BETWEEN + (2 if rule else 3)
    assert len(carol.applied) == 2
    assert lost == (0 if rule else 1), "of what bob had applied"


def ignore_birth(write: Any, target: Any) -> Any:
    return type(target)(target.session, target.cpu, target.apic_id, target.refusal, Resent.IN_ORDER)


@both
def test_3_a_resent_write_never_reaches_one_that_was_born_later(rule: bool) -> None:
    """D applies, D restarts, the interconnect dies before the source has heard of it, and the
    source sends again. Else it is applied twice."""
    m = RestartMachine()
    alice, first, _ = m.nodes.values()
    alice.ring(TO_BOB)
    play(m, "ud")
    m.kill(1)
    second = m.boot(1, 2)
    m.settle()
    m.restart(back=False)
    if not rule:
        switch_off(m.bus._recovery.resent, _mark=staticmethod(ignore_birth))
    for node in m.nodes.values():
        node.come()
    m.settle()
    assert len(first.applied) == 1
    assert len(second.applied) == (0 if rule else 1)
    expected = Outcome.LOST_TARGET_DEAD_MAYBE_DELIVERED if rule else Outcome.DELIVERED
    assert m.outcomes(0) == {expected: 1}


@both
def test_4_a_lowest_priority_write_is_not_arbitrated_twice(rule: bool) -> None:
    """It reached D1 before the restart; else it reaches D2 after it as well."""
    m = RestartMachine()
    alice, _, carol = m.nodes.values()
    alice.ring(LOWEST, 2)
    m.settle()
    m.tell_all()
    assert had_it(m) == {1: 2}
    alice.ring(LOWEST)
    while alice.send():
        pass
    assert carol.fetch()  # and her answer is lost with the interconnect
    assert had_it(m) == {1: 2, 2: 1}
    m.restart(back=False)
    if not rule:
        switch_off(m.bus._recovery.resent, note_arbitrated=lambda *_: None)
    for node in m.nodes.values():
        node.come()
    m.settle()
    assert had_it(m) == ({1: 2, 2: 1} if rule else {1: 3, 2: 1})
    if rule:
        m.check()


@both
@pytest.mark.parametrize("reported", [True, False], ids=["reported", "not reported"])
def test_4_who_has_another_address_since_is_asked_and_nobody_else_gets_it(
    reported: bool, rule: bool
) -> None:
    """A CPU has applied a write to a logical destination; then it gives its logical id up, and
    another one takes it. Else that one takes the same write too, and the first is not asked."""
    m = RestartMachine(mode=ApicMode.XAPIC)
    _, bob, carol = m.nodes.values()
    m.nodes[0].ring(TO_LOGICAL_BOB)
    play(m, "ud")
    write_ldr(bob, 0x80)
    write_ldr(carol, 0x04)
    if reported:
        # The latter's answer to the leg is in the same frame, and is lost with the interconnect.
        m.bus.receive(carol.session, carol.attachment.next_frame())
    m.restart(back=False)
    if not rule:
        switch_off(m.bus._recovery.resent, _moved_since=lambda *_: iter(()))
    for node in m.nodes.values():
        node.come()
    m.settle()
    assert had_it(m) == ({1: 1} if rule else {1: 1, 2: 1})
    if rule:
        unknown = Outcome.LOST_INTERCONNECT_RESTART_MAYBE_DELIVERED
        assert m.outcomes(0) == {Outcome.DELIVERED: 1, unknown: 1}
        m.check()


@both
def test_4_nothing_is_routed_before_the_roster_is_complete(rule: bool) -> None:
    """All-but-self would lose whoever comes back late."""
    m = RestartMachine()
    alice, bob, carol = m.nodes.values()
    alice.ring(ALL_BUT_SELF)
    alice.lose_a_frame()
    m.restart(back=False)
    if not rule:
        recovery = m.bus._recovery
        recovery.closed, m.bus._router.hold = False, None
        switch_off(recovery, takes_over_from=lambda self, epoch: True)
    alice.come()
    bob.come()
    m.settle()
    carol.come()
    m.settle()
    assert len(bob.applied) == 2
    assert len(carol.applied) == (2 if rule else 0)
    assert sum(m.outcomes(0).values()) == (5 if rule else 3)


@both
def test_4_what_was_refused_before_does_not_overtake(rule: bool) -> None:
    """The earlier interconnect had refused it, and that died with it: a later write of the same CPU
    has been applied, so this one is lost by name. Else it would come after it (3.2)."""
    m = RestartMachine()
    alice, bob, _ = m.nodes.values()
    skip_if_compiled(type(bob.session))
    bob.session.room_for = lambda lanes, source: 0
    bob.session.has_room = lambda count: False
    alice.ring(TO_BOB)
    while alice.send():
        pass
    del bob.session.room_for, bob.session.has_room
    alice.ring(TO_BOB + 1)
    play(m, "ud")
    if not rule:
        switch_off(bob.kernel.outcomes, highest=lambda self, source, cpu: 0)
    m.restart()
    m.settle()
    words = [word for _, word, _ in bob.applied]
    assert words == ([TO_BOB + 1] if rule else [TO_BOB + 1, TO_BOB])
    if rule:
        assert m.outcomes(0)[Outcome.LOST_INTERCONNECT_RESTART] == 1


@both
def test_5_a_source_s_books_and_what_it_sends_again_never_overlap(rule: bool) -> None:
    """What it is told over several frames counts once all have come. Else a leg is in its books and
    is sent again: it is booked twice."""
    m = RestartMachine()
    alice = m.nodes[0]
    alice.ring(TO_BOB, 3)
    play(m, "uda")
    alice.session._tell_from = 1
    frame = m.bus.next_frame(alice.session)
    assert frame.resolved
    # Of two frames the first has the books and the second what is resolved.
    frame.resolved, frame.partial = [], True
    alice.attachment.receive(frame)
    if not rule:
        alice.attachment.books.add(frame.books)
    m.restart()
    m.settle()
    assert sum(m.outcomes(0).values()) == (3 if rule else 6)
    assert (m.bus.balance() == []) is rule


@both
def test_6_a_client_repeats_a_call_over_a_restart(rule: bool) -> None:
    """With the same id, saying that it is a repetition; else it happens twice. The answer, which
    came after the last snapshot, is known to no other interconnect."""
    m = RestartMachine(lazy=True)
    bob = m.nodes[1]
    m.inject(TO_BOB, 2)
    while bob.fetch():
        pass
    roster = m.bus.roster_number
    m.restart()
    m.settle()
    tally = m.inject(TO_BOB, 2, first_seq=1, again=rule, roster=roster)
    m.settle()
    assert tally.done
    # Taken for a first call, its writes are legs like any others, which bob remembers.
    assert len(bob.applied) == 2
    assert tally.legs == {(2, 1, Outcome.DELIVERED): 2}
    # But who was born later does not.
    lost: Instance = m.kill(1)
    m.boot(1, 2)
    m.restart()
    m.settle()
    tally = m.inject(TO_BOB, 2, first_seq=1, again=rule, roster=roster)
    m.settle()
    assert len(lost.applied) == 2
    assert len(m.nodes[1].applied) == (0 if rule else 2)
    if rule:
        assert tally.legs == {(2, 1, Outcome.LOST_TARGET_DEAD_MAYBE_DELIVERED): 2}
