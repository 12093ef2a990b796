"""Where writes go that are sent again, those of clients among them (design 3.3, rule 4)."""

from simulation.restart_machine import (
    ALL_BUT_SELF,
    LOWEST,
    TO_BOB,
    TO_CAROL,
    TO_LOGICAL_BOB,
    Instance,
    RestartMachine,
    had_it,
    play,
    write_ldr,
)

from mkrpc.link.frames import CommandKind
from mkrpc.link.moved import NOT_TOLD_YET
from mkrpc.outcome import Outcome
from mkrpc.x86.apic_base import ApicMode
from mkrpc.x86.icr import DeliveryMode, DestinationMode, icr_word


def test_repeated_calls_of_a_client_need_no_order() -> None:
    """Its calls are made side by side: what was not applied is applied, though a later one was."""
    m = RestartMachine()
    bob = m.nodes[1]
    m.inject(TO_BOB, 1)
    m.inject(TO_BOB + 1, 1)
    roster = m.bus.roster_number
    m.restart()
    m.settle()
    assert not bob.applied
    later = m.inject(TO_BOB + 1, 1, first_seq=2, again=True, roster=roster)
    m.settle()
    first = m.inject(TO_BOB, 1, first_seq=1, again=True, roster=roster)
    m.settle()
    assert later.legs == first.legs == {(2, 1, Outcome.DELIVERED): 1}
    assert [word for _, word, _ in bob.applied] == [TO_BOB + 1, TO_BOB]
    m.check()


def test_what_a_client_has_acknowledged_stays_in_its_books() -> None:
    m = RestartMachine()
    m.inject(TO_BOB, 3)
    m.settle()
    m.inject(TO_CAROL, 2, resolved_below=4)
    m.settle()
    m.restart()
    m.settle()
    m.inject(TO_CAROL, 2, first_seq=4, again=True, roster=3)
    m.settle()
    m.check()
    assert not [
        row for row in m.bus.ledger if row.key.source.name.startswith("unknown") and row.written
    ]
    assert m.bus.totals().written == 5


def late_carol(m: RestartMachine, word: int) -> Instance:
    """A write is on its way as the interconnect dies; alice and bob are back, and so is carol, who
    says nothing until the barrier has opened."""
    alice, bob, carol = m.nodes.values()
    alice.ring(word)
    alice.lose_a_frame()
    m.restart(back=False)
    for node in m.nodes.values():
        node.come()
    while m.bus.recovering is not None:
        for node in (alice, bob):
            while node.send() | node.fetch():
                pass
        m.now_us = m.bus.deadline_us
        m.bus.advance(m.now_us, [carol.kernel.incarnation])
        for node in m.nodes.values():
            node.attachment.beat_answered(m.now_us)
            node.attachment.advance(m.now_us)
    return carol


def test_what_somebody_may_have_had_by_arbitration_goes_to_nobody_else() -> None:
    """One that is back and has not said yet what was applied there."""
    m = RestartMachine()
    late_carol(m, LOWEST)
    m.settle()
    assert m.outcomes(0) == {Outcome.LOST_INTERCONNECT_RESTART_MAYBE_DELIVERED: 1}
    assert had_it(m) == {}
    m.check()


def test_a_fresh_arbitration_prefers_those_who_were_there_when_it_was_written() -> None:
    bob_or_dave = icr_word(
        vector=0x41,
        destination=0b11001100,
        delivery_mode=DeliveryMode.LOWEST_PRIORITY,
        destination_mode=DestinationMode.LOGICAL,
    )
    m = RestartMachine()
    alice, bob, carol = m.nodes.values()
    for cpu in bob.kernel.cpus:
        cpu.write_tpr(0x30)
        cpu.changed = True
    m.settle()
    alice.ring(bob_or_dave)
    alice.lose_a_frame()
    m.boot(3, 1)  # the less busy, but born later
    m.restart(back=False)
    del m.nodes[2]
    for node in m.nodes.values():
        node.come()
    m.settle()
    m.nodes[2] = carol
    carol.come()
    m.settle()
    assert had_it(m) == {1: 1}


def test_an_end_behind_the_barrier_is_later_than_all_that_anybody_has_been_told() -> None:
    """The file may not have the latest number; else nothing would stand for whom nobody can ask."""
    m = RestartMachine()
    m.boot(3, 1)
    m.beat()
    m.beat()
    alice = m.nodes[0]
    alice.ring(ALL_BUT_SELF)
    alice.lose_a_frame()
    m.keeper.roster = 1
    m.restart(back=False)
    del m.nodes[2]
    m.bus.process_ended(2, 1, "killed")
    for node in m.nodes.values():
        node.come()
    m.settle()
    m.check()
    assert alice.kernel.source.roster > 2
    assert m.outcomes(0)[Outcome.LOST_INTERCONNECT_RESTART_MAYBE_DELIVERED] == 1


def test_what_is_new_is_never_put_to_what_is_sent_again() -> None:
    m = RestartMachine()
    alice, bob, _ = m.nodes.values()
    alice.ring(TO_BOB, 2)
    alice.lose_a_frame()
    m.restart()
    alice.ring(TO_BOB, 2)
    assert [(event.first_seq, bool(event.stamp)) for event in alice.kernel.events] == [
        (1, True),
        (3, False),
    ]
    m.settle()
    m.check()
    assert len(bob.applied) == 4


def test_what_was_written_before_the_first_welcome_is_sent_again_too() -> None:
    """No roster number was known then; the lowest stands for that."""
    m = RestartMachine()
    late = m.nodes[3] = Instance(m, 3)
    late.ring(TO_BOB, 2)
    late.come()
    late.lose_a_frame()
    m.restart()
    m.settle()
    m.check()
    assert m.outcomes(3) == {Outcome.LOST_TARGET_DEAD_MAYBE_DELIVERED: 2}


def test_commands_end_with_the_interconnect_that_gave_them() -> None:
    """Their clients have been told so; nobody knows the numbers any more."""
    m = RestartMachine()
    alice, bob, _ = m.nodes.values()
    m.bus.write_icr(apic_id=0, word=TO_BOB, count=10_000, on_done=lambda _: None)
    m.bus.write_icr(apic_id=1, word=TO_BOB, count=3, on_done=lambda _: None)
    m.bus.command(0, kind=CommandKind.READ_CPU, on_reply=lambda _: None)
    assert alice.fetch()
    written = alice.kernel.source.written
    assert 1000 < written < 10_000
    m.restart()
    m.settle()
    m.check()
    assert alice.kernel.source.written == written, "the rest of what was asked for is not done"
    assert len(bob.applied) == written
    m.bus.command(0, kind=CommandKind.READ_CPU, on_reply=lambda _: None)
    m.settle()
    assert m.bus.quiet()


def test_what_is_asked_for_while_the_barrier_is_closed_is_done() -> None:
    m = RestartMachine()
    alice, bob, carol = m.nodes.values()
    m.restart(back=False)
    alice.come()
    bob.come()
    m.settle()
    asked = m.bus.write_icr(apic_id=0, word=TO_BOB, count=3, on_done=lambda _: None)
    injected = m.inject(TO_BOB, 2)
    alice.kernel.publish_settled(0, 0x0004_0041, Outcome.REJECTED_ICR_BUSY)
    m.settle()
    assert not bob.applied
    assert not asked.done
    assert m.bus.totals().rejected == 1, "what an APIC has settled waits for nobody"
    carol.come()
    m.settle()
    m.check()
    assert asked.done
    assert injected.done
    assert len(bob.applied) == 5


UNKNOWN = Outcome.LOST_INTERCONNECT_RESTART_MAYBE_DELIVERED


def test_only_what_could_have_gone_by_another_address_is_called_into_question() -> None:
    """A write that was made after its source had been told, one to a physical id, one to a CPU that
    has not changed anything: they come again as any other."""
    m = RestartMachine(mode=ApicMode.XAPIC)
    alice, _, carol = m.nodes.values()
    write_ldr(carol, 0x80)
    m.settle()
    m.beat()
    alice.ring(TO_LOGICAL_BOB)
    alice.ring(TO_LOGICAL_BOB & 0xFFFF_FFFF | 0x80 << 32)  # carol, by her new id
    alice.lose_a_frame()
    m.restart()
    m.settle()
    assert had_it(m) == {1: 1, 2: 1}
    assert m.outcomes(0)[UNKNOWN] == 0
    m.tell_all()
    alice.ring(TO_CAROL)
    alice.lose_a_frame()
    write_ldr(carol, 0x40)
    m.restart()
    m.settle()
    assert had_it(m) == {1: 1, 2: 2}
    assert m.outcomes(0)[UNKNOWN] == 0
    m.check()


def test_who_changes_back_before_anybody_hears_of_it_has_changed_all_the_same() -> None:
    """Its earlier change may have been routed by."""
    m = RestartMachine(mode=ApicMode.XAPIC)
    alice, bob, _ = m.nodes.values()
    write_ldr(bob, 0x80)
    assert bob.send()  # and the acknowledgement is lost with the interconnect
    alice.ring(TO_LOGICAL_BOB)
    assert alice.send()  # it names nobody
    write_ldr(bob, 0x04)
    m.restart()
    m.settle()
    assert had_it(m) == {}
    assert m.outcomes(0)[UNKNOWN] == 1
    m.check()


def test_a_change_counts_over_several_restarts() -> None:
    m = RestartMachine(mode=ApicMode.XAPIC)
    alice, bob, carol = m.nodes.values()
    alice.ring(TO_LOGICAL_BOB)
    play(m, "ud")
    write_ldr(bob, 0x80)
    write_ldr(carol, 0x04)
    m.restart()  # and dies before alice has sent anything again
    told = bob.kernel.source.roster
    assert {each.logically for each in bob.session.moved} == {0, NOT_TOLD_YET}
    m.restart()
    assert told >= bob.session.moved[0].logically > 0 or NOT_TOLD_YET in bob.session.moved[0]
    m.settle()
    assert had_it(m) == {1: 1}
    assert m.outcomes(0) == {Outcome.DELIVERED: 1, UNKNOWN: 1}
    m.check()


def test_who_was_named_and_has_ended_stands_beside_whoever_took_the_address() -> None:
    m = RestartMachine(mode=ApicMode.XAPIC)
    alice, bob, carol = m.nodes.values()
    alice.ring(TO_LOGICAL_BOB)
    play(m, "ud")
    write_ldr(carol, 0x04)
    carol.send()
    m.kill(1)
    m.restart()
    m.settle()
    assert len(bob.applied) == 1
    assert not carol.applied
    assert m.outcomes(0) == {UNKNOWN: 2}, "carol, and one leg for bob"
    m.check()


def test_what_was_said_of_arbitrated_writes_is_let_go() -> None:
    m = RestartMachine(mode=ApicMode.XAPIC)
    alice, _, _ = m.nodes.values()
    alice.ring(LOWEST, 3)
    play(m, "ud")
    m.restart()
    m.settle()
    m.kill(0)
    resent = m.bus._recovery.resent
    assert not resent._arbitrated
    assert not resent._noted
    assert alice
