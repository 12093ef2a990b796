"""CPUs that move from one running kernel to another, APIC id and all (docs/moving-cpus.md)."""

from dataclasses import replace

import pytest
from simulation.restart_machine import (
    ALL_BUT_SELF,
    TO_BOB,
    TO_BOB_1,
    Instance,
    RestartMachine,
    play,
)

from mkrpc.errors import AlreadyExistsError, InstanceBusyError, NotFoundError, UnavailableError
from mkrpc.instance.instructions import Cli
from mkrpc.instance.procfs import proc_interrupts
from mkrpc.interconnect.standing import standing
from mkrpc.limits import MAX_CPUS
from mkrpc.link.frames import Command, CommandKind, Reply
from mkrpc.outcome import Outcome
from mkrpc.x86.apic_base import ApicMode
from mkrpc.x86.icr import Shorthand, fixed, nmi, shorthand_word

MOVED = 3
"""The APIC id of bob's second CPU."""
BOOT = 2
"""That of his first."""
TO_ALICE = fixed(0, 0x41)


def ask(m: RestartMachine, number: int, kind: CommandKind, apic_id: int) -> list[Reply]:
    replies: list[Reply] = []
    m.bus.command(number, kind=kind, word=apic_id, on_reply=replies.append)
    return replies


def remove(m: RestartMachine, number: int, apic_id: int = MOVED) -> Reply:
    replies = ask(m, number, CommandKind.REMOVE_CPU, apic_id)
    m.settle()
    return replies[0]


def add(m: RestartMachine, number: int, apic_id: int = MOVED) -> Reply:
    replies = ask(m, number, CommandKind.ADD_CPU, apic_id)
    m.settle()
    return replies[0]


def bring_online(m: RestartMachine, node: Instance, cpu: int) -> None:
    node.kernel.hotplug.bring_online(cpu)
    m.settle()
    assert cpu not in node.kernel.hotplug.offline


def move(m: RestartMachine, giver: int, taker: int, apic_id: int = MOVED) -> int:
    """The number that the CPU has at its taker, where it is online."""
    assert not remove(m, giver, apic_id).error
    number = int(add(m, taker, apic_id).text)
    bring_online(m, m.nodes[taker], number)
    return number


def rung(node: Instance, word: int) -> list[tuple[int, Outcome]]:
    """The CPUs that were given a word."""
    return [(cpu, outcome) for cpu, each, outcome in node.applied if each == word]


@pytest.mark.parametrize("mode", [ApicMode.X2APIC, ApicMode.XAPIC])
def test_an_ipi_to_the_id_reaches_whoever_has_it(mode: ApicMode) -> None:
    m = RestartMachine(mode=mode)
    alice, bob, carol = m.nodes.values()
    alice.ring(TO_BOB_1)
    m.settle()
    assert rung(bob, TO_BOB_1) == [(1, Outcome.DELIVERED)]
    assert remove(m, 1).text == "1"
    alice.ring(TO_BOB_1)
    m.settle()
    assert int(add(m, 2).text) == 2
    bring_online(m, carol, 2)
    alice.ring(TO_BOB_1)
    m.settle()
    assert len(rung(bob, TO_BOB_1)) == 1
    assert rung(carol, TO_BOB_1) == [(2, Outcome.DELIVERED)]
    assert m.outcomes(0) == {Outcome.DELIVERED: 2, Outcome.REJECTED_NO_SUCH_APIC: 1}
    assert m.bus.cpu_owner(MOVED)[0].instance_id == 2
    assert "CPU2" in proc_interrupts(carol.kernel).splitlines()[0]
    m.check()


def test_whose_a_cpu_is_can_be_asked_at_any_time() -> None:
    m = RestartMachine()
    assert standing(m.bus, MOVED, 0x41).instance_id == 1
    remove(m, 1)
    between = standing(m.bus, MOVED, 0x41)
    assert (between.instance_id, between.cpu) == (1, 1)
    assert between.detail == "no longer its owner: nobody is"
    add(m, 2)
    now = standing(m.bus, MOVED, 0x41)
    assert (now.instance_id, now.cpu, now.detail) == (2, 2, "")
    m.kill(2)
    assert not standing(m.bus, MOVED, 0x41).detail.startswith("no longer")


def test_no_shorthand_and_no_broadcast_finds_a_vacant_number() -> None:
    m = RestartMachine()
    alice, bob, carol = m.nodes.values()
    remove(m, 1)
    everybody = fixed(0xFFFF_FFFF, 0x41)
    for word in (ALL_BUT_SELF, everybody, shorthand_word(Shorthand.ALL_INCLUDING_SELF, 0x42)):
        alice.ring(word)
    m.settle()
    assert {cpu for cpu, *_ in bob.applied} == {0}
    assert Outcome.REJECTED_NO_SUCH_APIC not in m.outcomes(0)
    move_to = int(add(m, 2).text)
    bring_online(m, carol, move_to)
    alice.ring(ALL_BUT_SELF)
    m.settle()
    assert {cpu for cpu, *_ in bob.applied} == {0}
    assert (move_to, Outcome.DELIVERED) in rung(carol, ALL_BUT_SELF)
    m.check()


def test_what_is_on_its_way_is_rejected_where_the_cpu_was_and_the_id_waits_for_it() -> None:
    m = RestartMachine()
    alice, bob = m.nodes[0], m.nodes[1]
    replies = ask(m, 1, CommandKind.REMOVE_CPU, MOVED)
    while bob.fetch():
        pass
    alice.ring(TO_BOB_1, count=3)
    while alice.send():
        pass
    while bob.send():
        pass
    assert replies[0].text == "1"
    with pytest.raises(InstanceBusyError, match="on its way"):
        ask(m, 2, CommandKind.ADD_CPU, MOVED)
    newcomer = Instance(m, 9).attachment.hello(9)
    with pytest.raises(AlreadyExistsError, match="on its way"):
        m.bus.attach(replace(newcomer, cpus=(replace(newcomer.cpus[0], apic_id=MOVED),)))
    m.settle()
    assert m.outcomes(0) == {Outcome.REJECTED_NO_SUCH_APIC: 3}
    assert add(m, 2).text == "2"
    m.check()


def test_what_it_held_is_discarded_and_counted() -> None:
    m = RestartMachine()
    bob = m.nodes[1]
    bob.kernel.cpus[1].write_tpr(0xF0)
    m.inject(TO_BOB_1, 1)
    m.inject(nmi(MOVED), 1)
    m.settle()
    assert remove(m, 1).text == "1"
    assert bob.kernel.cpus[1].books.discarded[0x41] == 1
    assert not bob.kernel.cpus[1].apic.irr
    m.check()


def test_it_comes_back_under_the_number_that_it_had() -> None:
    m = RestartMachine()
    alice, bob = m.nodes[0], m.nodes[1]
    for _ in range(3):
        assert move(m, 1, 2) == 2
        assert move(m, 2, 1) == 1
    alice.ring(TO_BOB_1)
    m.settle()
    assert rung(bob, TO_BOB_1) == [(1, Outcome.DELIVERED)]
    assert [len(node.kernel.cpus) for node in m.nodes.values()] == [2, 2, 3]
    m.check()


def test_the_boot_cpu_refuses() -> None:
    m = RestartMachine()
    reply = remove(m, 1, BOOT)
    assert reply.reason == "INVALID_ARGUMENT"
    assert reply.error.startswith("EINVAL")
    lines = [record.text for record in m.nodes[1].kernel.log.since(0)]
    assert "Multikernel hotplug: Cannot remove boot CPU" in lines
    assert m.bus.cpu_owner(BOOT)[0].instance_id == 1
    m.check()


def test_a_busy_cpu_a_foreign_one_and_one_that_others_have_are_refused() -> None:
    m = RestartMachine()
    m.nodes[1].kernel.cpus[1].execute(Cli())
    assert remove(m, 1).error.startswith("EBUSY")
    assert remove(m, 1, 0).error.startswith("ENODEV")
    with pytest.raises(InstanceBusyError, match=r"EBUSY.*belongs to CPU 1 of instance 1"):
        add(m, 2)
    assert add(m, 1).text == "1", "it has it already"
    ask(m, 0, CommandKind.ADD_CPU, 77)
    with pytest.raises(InstanceBusyError, match=r"EBUSY.*is promised to instance 0"):
        ask(m, 2, CommandKind.ADD_CPU, 77)
    m.settle()
    m.check()


def test_numbers_and_ids_that_a_kernel_cannot_have() -> None:
    m = RestartMachine(mode=ApicMode.XAPIC)
    assert add(m, 2, 0x100).error.startswith("EINVAL")
    m = RestartMachine()
    for apic_id in range(100, 100 + MAX_CPUS - 2):
        assert not add(m, 2, apic_id).error
    assert add(m, 2, 1000).error.startswith("ENOSPC")
    m.check()


def test_a_lost_acknowledgement_can_be_asked_for_again() -> None:
    """The interconnect dies with the reply of each of the two: the same call again is answered, and
    nothing has been done twice."""
    m = RestartMachine()
    bob, carol = m.nodes[1], m.nodes[2]
    lost = ask(m, 1, CommandKind.REMOVE_CPU, MOVED)
    while bob.fetch():
        pass
    bob.lose_a_frame()
    m.restart()
    m.settle()
    assert not lost
    with pytest.raises(NotFoundError):
        m.bus.cpu_owner(MOVED)
    assert remove(m, 1).text == "1"
    lost = ask(m, 2, CommandKind.ADD_CPU, MOVED)
    while carol.fetch():
        pass
    carol.lose_a_frame()
    m.restart()
    m.settle()
    assert not lost
    assert m.bus.cpu_owner(MOVED) == (carol.session, 2)
    assert add(m, 2).text == "2"
    bring_online(m, carol, 2)
    m.check()


def test_a_broken_stream_changes_nothing() -> None:
    """The frame that says that a CPU has come is lost with its stream; the next hello has it."""
    m = RestartMachine()
    carol = m.nodes[2]
    assert not remove(m, 1).error
    replies = ask(m, 2, CommandKind.ADD_CPU, MOVED)
    while carol.fetch():
        pass
    carol.lose_a_frame()
    m.bus.disconnect(carol.session, carol.session.generation)
    carol.come()
    m.settle()
    assert replies[0].text == "2"
    bring_online(m, carol, 2)
    m.check()


STAGES = ["U", "u", "uD", "ud", "udA", "uda", "udaT"]
"""How far alice's write had got as the interconnect died, as in ``play``: she never hears of its
end."""


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("moves", ["taken", "pool"])
def test_a_write_that_comes_again_after_its_cpu_has_moved(stage: str, moves: str) -> None:
    """It was routed to bob, or may have been. What he knows of it is what became of it; nobody else
    is given it."""
    m = RestartMachine()
    alice, bob, carol = m.nodes.values()
    alice.ring(TO_BOB_1)
    play(m, stage)
    had = bool(bob.applied)
    bob.kernel.execute(Command(99, CommandKind.REMOVE_CPU, 0, MOVED, 0, ""))
    m.restart()
    m.settle()
    if moves == "taken":
        assert not add(m, 2).error
    m.restart()
    m.settle()
    assert rung(bob, TO_BOB_1) == ([(1, Outcome.DELIVERED)] if had else [])
    assert not rung(carol, TO_BOB_1)
    ended = m.outcomes(0)
    assert sum(ended.values()) == 1
    unknown = Outcome.LOST_INTERCONNECT_RESTART_MAYBE_DELIVERED
    assert ended == ({Outcome.DELIVERED: 1} if had else {unknown: 1})
    m.check()


def test_what_a_cpu_had_written_and_never_sent_is_routed_after_it_has_left() -> None:
    """The interconnect died before it heard of either; the next one's hello has no such CPU."""
    m = RestartMachine()
    alice, bob = m.nodes[0], m.nodes[1]
    bob.ring(TO_ALICE, 3, cpu=1)
    bob.kernel.execute(Command(99, CommandKind.REMOVE_CPU, 0, MOVED, 0, ""))
    m.restart()
    m.settle()
    assert [word for _, word, _ in alice.applied] == [TO_ALICE] * 3
    assert sum(m.outcomes(1).values()) == 3
    m.check()


def test_nobody_else_is_asked_about_a_write_to_another_cpu() -> None:
    """A CPU that has moved since stands at its own APIC id: what names another had nothing to do
    with it."""
    m = RestartMachine()
    alice, bob = m.nodes[0], m.nodes[1]
    alice.ring(TO_BOB)
    play(m, "uda")
    bob.kernel.execute(Command(99, CommandKind.REMOVE_CPU, 0, MOVED, 0, ""))
    m.restart()
    m.settle()
    assert m.outcomes(0) == {Outcome.DELIVERED: 1}
    m.check()


def test_all_cpus_are_asked_about_while_one_has_come() -> None:
    """A question that was asked before is answered with the CPUs of then or of now."""
    m = RestartMachine()
    carol = m.nodes[2]
    for _ in range(2):
        carol.ring(TO_BOB, count=600)  # more than a frame: the answer comes after all of them
        before = ask(m, 2, CommandKind.READ_ACCOUNT, 0)
        add_it = ask(m, 2, CommandKind.ADD_CPU, 100 + len(carol.kernel.cpus))
        after = ask(m, 2, CommandKind.READ_ACCOUNT, 0)
        m.settle()
        assert not add_it[0].error
        assert len(before[0].cpus) + 1 == len(after[0].cpus) == len(carol.kernel.cpus)
    m.check()


def test_behind_the_barrier_nobody_is_given_a_cpu() -> None:
    """Carol has not come back yet, and has been told to take it in by the interconnect that died:
    it would be at two kernels."""
    m = RestartMachine()
    alice, bob, carol = m.nodes.values()
    assert not remove(m, 1).error
    ask(m, 2, CommandKind.ADD_CPU, MOVED)
    while carol.fetch():
        pass
    m.restart(back=False)
    alice.come()
    bob.come()
    with pytest.raises(UnavailableError, match="is not back may have the CPU"):
        ask(m, 0, CommandKind.ADD_CPU, MOVED)
    carol.come()
    m.settle()
    with pytest.raises(InstanceBusyError, match="belongs to CPU 2 of instance 2"):
        ask(m, 0, CommandKind.ADD_CPU, MOVED)
    m.check()
