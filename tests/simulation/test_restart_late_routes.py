"""Writes that wait for a route, and what is known of them then (design 3.3, rule 4)."""

import pytest
from simulation.restart_machine import (
    LOWEST,
    TO_LOGICAL_BOB,
    Instance,
    RestartMachine,
    had_it,
    play,
    write_ldr,
)

from mkrpc.instance.instructions import WriteRegister
from mkrpc.outcome import Outcome
from mkrpc.x86.apic_base import ApicMode
from mkrpc.x86.icr import fixed, icr_word
from mkrpc.x86.registers import Register


def test_what_was_arbitrated_is_known_though_its_source_leaves_meanwhile() -> None:
    m = RestartMachine()
    alice, bob, carol = m.nodes.values()
    alice.ring(LOWEST)
    play(m, "u")
    for node in (bob, carol):
        node.fetch()
    m.restart()
    while alice.send() | bob.send():
        pass
    m.bus.detach(alice.session, "left: asked to")
    del m.nodes[0]
    m.settle()
    assert sum(had_it(m).values()) == 1
    (row,) = [row for row in m.bus.ledger if row.key.source.identity == alice.kernel.incarnation]
    assert row.outcomes == {Outcome.DELIVERED: 1}


def test_nobody_was_there_when_a_client_called_that_had_been_told_no_roster_number() -> None:
    """Not even the first instance of the first interconnect."""
    m = RestartMachine()
    m.restart()
    m.settle()
    tally = m.inject(icr_word(vector=0x41, destination=0), again=True, roster=0)
    m.settle()
    assert tally.legs == {(0, 0, Outcome.LOST_TARGET_DEAD_MAYBE_DELIVERED): 1}
    assert had_it(m) == {}


def test_who_is_new_and_has_moved_is_asked_for_what_it_wrote_before_it_was_welcomed() -> None:
    """A write waits for its route: meanwhile even its own source attaches, and is named by it."""
    m = RestartMachine(mode=ApicMode.XAPIC)
    m.kill(1)
    bob = m.nodes[1] = Instance(m, 1, life=2)
    bob.ring(TO_LOGICAL_BOB)
    bob.come()
    assert bob.send()
    assert bob.fetch()
    write_ldr(bob, 0x80)
    m.restart()
    m.settle()
    assert had_it(m) == {1: 1}
    # And a leg to nobody, for who had its place before and cannot be asked.
    nobody_knows = Outcome.LOST_INTERCONNECT_RESTART_MAYBE_DELIVERED
    assert m.outcomes(1) == {Outcome.DELIVERED: 1, nobody_knows: 1}
    m.check()


@pytest.mark.parametrize("move", ["then", "before that, and back"])
def test_a_leg_to_nobody_stands_for_one_that_was_at_an_xapic_id_and_is_dead(move: str) -> None:
    """One that was born later and is found there stands for who had its initial APIC id alone."""
    m = RestartMachine(mode=ApicMode.XAPIC)
    alice, bob, _ = m.nodes.values()
    set_xapic_id(bob, 9)
    play(m, "u")
    m.settle()
    if move == "then":
        alice.ring(fixed(9, 0x41))
        play(m, "ud")
        assert had_it(m) == {1: 1}
    else:
        set_xapic_id(bob, 2)
        m.settle()
        alice.ring(fixed(9, 0x41))
        play(m, "u")
    bob_dies_with_the_interconnect(m)
    m.boot(4, life=1)
    m.settle()
    nobody_knows = Outcome.LOST_INTERCONNECT_RESTART_MAYBE_DELIVERED
    assert m.outcomes(0)[nobody_knows] == 1


def test_one_that_is_born_later_stands_for_who_had_its_id_and_never_moved() -> None:
    m = RestartMachine(mode=ApicMode.XAPIC)
    m.nodes[0].ring(fixed(2, 0x41))
    play(m, "ud")
    bob_dies_with_the_interconnect(m)
    m.boot(1, life=2)
    m.settle()
    assert m.outcomes(0) == {Outcome.LOST_TARGET_DEAD_MAYBE_DELIVERED: 1}
    m.check()


def test_one_that_lives_and_has_come_to_an_id_does_not_stand_for_who_is_dead_and_had_it() -> None:
    m = RestartMachine(mode=ApicMode.XAPIC)
    alice, _, carol = m.nodes.values()
    set_xapic_id(carol, 2)
    m.settle()
    m.beat()
    alice.ring(fixed(2, 0x41))
    play(m, "ud")
    assert carol.fetch()
    assert had_it(m) == {1: 1, 2: 1}, "two CPUs answer to one id"
    m.kill(1)
    m.restart()
    m.settle()
    assert m.outcomes(0) == {
        Outcome.DELIVERED: 1,
        Outcome.LOST_INTERCONNECT_RESTART_MAYBE_DELIVERED: 1,
    }
    m.check()


def bob_dies_with_the_interconnect(m: RestartMachine) -> None:
    """Until the next one routes again; what alice sends again then is still to come."""
    m.kill(1)
    m.restart()
    while m.bus.recovering is not None:
        assert any(node.send() for node in reversed(m.nodes.values()))


def set_xapic_id(node: Instance, xapic_id: int) -> None:
    """Its first CPU takes another one."""
    node.kernel.cpus[0].execute(WriteRegister(Register.ID, xapic_id << 24))
