"""Handlers that ring themselves for ever, and what waits for the link meanwhile (R20, R55)."""

import pytest

from mkrpc.instance import instructions as ins
from mkrpc.instance.accounting import assert_books
from mkrpc.instance.cpu import MAX_TAKES_PER_BOUNDARY
from mkrpc.instance.kernel import FRAME_EVENTS, MAX_QUEUED_EVENTS
from mkrpc.link.frames import CpuAddress, ResolvedRun, SettledWrite
from mkrpc.link.source import WRITE_WINDOW
from mkrpc.outcome import Outcome
from mkrpc.x86.icr import fixed, init_assert, nmi
from mkrpc.x86.lapic import ApicMode
from mkrpc.x86.registers import Register

RING = fixed(1, 0xEA)


def ring_itself(kernel, times=1):
    """Register a plain handler that sends itself what it handles, ``times`` over."""

    def rings_itself(cpu):
        for _ in range(times):
            cpu.self_ipi(0xEA)

    kernel.register_handler(rings_itself)


def settled(events):
    return {event.outcome for event in events if isinstance(event, SettledWrite)}


def test_a_boundary_is_charged_with_what_it_took(kernel):
    ring_itself(kernel)
    kernel.accept(1, RING)
    assert kernel.cpus[1].multikernel_count == MAX_TAKES_PER_BOUNDARY
    assert kernel.advance(1) == MAX_TAKES_PER_BOUNDARY
    assert kernel.advance(2 * MAX_TAKES_PER_BOUNDARY) == 2 * MAX_TAKES_PER_BOUNDARY


def test_what_a_boundary_left_comes_before_the_next_instruction(kernel):
    left = [MAX_TAKES_PER_BOUNDARY + 9]
    seen = []

    def handler(cpu):
        left[0] -= 1
        if left[0]:
            cpu.self_ipi(0xEA)

    def program(cpu):
        yield ins.SelfIpi(0xEA)
        seen.append(left[0])

    kernel.register_handler(handler)
    kernel.start_program(1, program)
    kernel.advance(10_000)
    assert seen == [0]


def test_in_a_storm_an_arrival_takes_nothing_more(kernel):
    ring_itself(kernel)
    kernel.accept(1, RING)
    assert [kernel.accept(1, RING) for _ in range(3)] == [Outcome.COALESCED] * 3
    assert kernel.accept(1, fixed(1, 0x41)) is Outcome.DELIVERED
    assert kernel.cpus[1].multikernel_count == MAX_TAKES_PER_BOUNDARY
    assert_books(kernel)


@pytest.mark.rule("R20")
@pytest.mark.parametrize("times", [1, 3])
def test_a_storm_waits_for_the_window_and_goes_on_for_ever(kernel, peer, times):
    """Without an oops and without a refusal; frames go out in between."""
    ring_itself(kernel, times)
    kernel.accept(1, RING)
    reached = 0
    for _ in range(20):
        while kernel.advance(512):
            pass
        assert reached < kernel.cpus[1].multikernel_count <= reached + 2 * WRITE_WINDOW
        reached = kernel.cpus[1].multikernel_count
        assert not kernel.runnable
        peer.drain()
        assert kernel.runnable, "what is settled and reported holds no place in the window"
        peer.send(resolved=[ResolvedRun(1, kernel.source.written)])
    assert settled(peer.events) <= {Outcome.DELIVERED, Outcome.COALESCED}
    assert kernel.oops_count == 0
    peer.assert_mirror_is(kernel)
    assert_books(kernel)


def test_the_mirror_follows_a_storm_that_ends_in_a_turn_without_arrivals(kernel, peer):
    """What a boundary takes changes the account, whoever called it."""
    left = [MAX_TAKES_PER_BOUNDARY + 1]

    def handler(cpu):
        left[0] -= 1
        if left[0]:
            cpu.self_ipi(0xEA)

    kernel.register_handler(handler)
    peer.send_legs((1, RING, 1))
    peer.drain()
    assert kernel.advance(64) == 1
    peer.drain()
    assert kernel.cpus[1].multikernel_count == MAX_TAKES_PER_BOUNDARY + 1
    peer.assert_mirror_is(kernel)


@pytest.mark.rule("R9", "R20")
def test_init_ends_a_storm_even_at_a_closed_window(kernel):
    ring_itself(kernel)
    kernel.accept(1, RING)
    while kernel.advance(512):
        pass
    assert kernel.accept(1, init_assert(1)) is Outcome.DELIVERED
    assert kernel.cpus[1].activity == "wait-for-sipi"
    assert not kernel.runnable
    assert_books(kernel)


def test_a_panic_ends_a_storm_and_init_is_taken_at_once(make_kernel):
    kernel = make_kernel(panic_on_oops=True)
    ring_itself(kernel)
    kernel.accept(1, RING)
    kernel.panic(kernel.cpus[0], "for the test")
    assert not kernel.runnable
    kernel.accept(1, init_assert(1))
    assert kernel.cpus[1].activity == "wait-for-sipi"


def rotate(register, values):
    """A program that writes ``register`` for ever."""

    def program(cpu):
        while True:
            for value in values:
                yield ins.WriteRegister(register, value)

    return program


def test_addresses_that_nobody_could_be_routed_by_are_not_queued(make_kernel):
    kernel = make_kernel(3, mode=ApicMode.XAPIC)
    for cpu in kernel.cpus:
        kernel.start_program(cpu.number, rotate(Register.LDR, (1 << 24, 2 << 24, 4 << 24)))
    kernel.advance(3 * 1000)
    assert sorted(event.cpu for event in kernel.events) == [0, 1, 2]
    assert [event.ldr for event in kernel.events] == [
        kernel.cpus[event.cpu].apic.ldr for event in kernel.events
    ]


def test_an_address_that_a_write_could_be_routed_by_stays(make_kernel):
    kernel = make_kernel(mode=ApicMode.XAPIC)
    cpu, other = kernel.cpus
    for ldr in (2 << 24, 4 << 24):
        cpu.execute(ins.WriteRegister(Register.LDR, ldr))
    other.execute(ins.WriteIcr(RING))
    for ldr in (8 << 24, 16 << 24):
        cpu.execute(ins.WriteRegister(Register.LDR, ldr))
    ldrs = [event.ldr if isinstance(event, CpuAddress) else None for event in kernel.events]
    assert ldrs == [4 << 24, None, 16 << 24]


def test_cpus_stand_still_when_the_link_takes_nothing(make_kernel, new_peer):
    """Also those that need no window: each reserved register raises LVT ERROR, a write settled at
    once, and each write of ESR lets the next one in."""
    kernel = make_kernel(mode=ApicMode.XAPIC)
    kernel.cpus[0].execute(ins.WriteRegister(Register.LVT_ERROR, 0x41))

    def program(cpu):
        while True:
            yield ins.MmioRead(0x40)
            yield ins.WriteRegister(Register.ESR, 0)
            yield ins.WriteRegister(Register.LDR, (kernel.source.written % 8) << 24)

    kernel.start_program(0, program)
    while kernel.advance(10_000):
        pass
    assert MAX_QUEUED_EVENTS <= len(kernel.events) <= MAX_QUEUED_EVENTS + 2
    assert not kernel.runnable
    peer = new_peer(kernel)
    frame = peer.attachment.next_frame()
    assert len(frame.events) == FRAME_EVENTS
    assert kernel.runnable
    assert_books(kernel)


def hold_the_window(kernel):
    """Fill the window with writes that nobody resolves; only commands and waiting code stop."""
    cpu = kernel.cpus[1]
    while cpu.may_write:
        cpu.write_icr(fixed(0, 0x41))


@pytest.mark.rule("R55", "R58")
def test_in_a_storm_that_waits_for_the_window_nmi_and_init_are_taken(kernel):
    ring_itself(kernel)
    kernel.accept(1, RING)
    cpu = kernel.cpus[1]
    hold_the_window(kernel)
    handled = cpu.multikernel_count
    assert (cpu.storm, cpu.runnable) == (True, False)
    kernel.accept(1, nmi(1))
    assert cpu.irq_stat.nmi_count == 1
    kernel.advance(100)
    assert (cpu.storm, cpu.multikernel_count) == (True, handled), "its handler waits (R20)"
    kernel.accept(1, init_assert(1))
    assert (cpu.storm, cpu.wait_for_sipi) == (False, True)
    assert_books(kernel)


def test_a_boundary_that_took_the_limit_and_left_nothing_is_no_storm(kernel):
    left = [MAX_TAKES_PER_BOUNDARY]

    def handler(cpu):
        left[0] -= 1
        if left[0]:
            cpu.self_ipi(0xEA)

    kernel.register_handler(handler)
    kernel.accept(1, RING)
    cpu = kernel.cpus[1]
    assert (left, cpu.storm, kernel.runnable) == ([0], False, False)
