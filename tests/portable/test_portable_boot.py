"""INIT and SIPI: portable tests 26 to 28 and 53, and the start that all of them rely on.

A departure: there is no firmware, so a boot processor that takes an INIT starts its program again,
and what an AP runs after SIPI is what its kernel names.
"""

import pytest

from mkrpc.instance.instructions import Hlt, Nop, ReadRegister, Sti, WriteIcr, WriteRegister
from mkrpc.outcome import Outcome
from mkrpc.x86.icr import (
    DeliveryMode,
    Shorthand,
    fixed,
    icr_word,
    init_assert,
    shorthand_word,
    startup,
)
from mkrpc.x86.lapic import ApicMode
from mkrpc.x86.registers import Register

BOTH_MODES = pytest.mark.parametrize("mode", [ApicMode.XAPIC, ApicMode.X2APIC])
TRAMPOLINE = 0x07
CALLED = 0x20


@pytest.fixture
def started(make_bench):
    """``started(cpus, mode)``: a bench, and the list of (APIC id, SIPI vector) of CPUs started."""

    def make(cpus, mode):
        bench = make_bench(cpus, mode=mode)
        starts = []

        def online(cpu):
            yield WriteRegister(Register.SVR, 0x1FF)
            yield Sti()
            while True:
                yield Hlt()

        def on_startup(cpu, vector):
            starts.append((cpu.apic_id, vector))
            return online

        for kernel in bench.machine.kernels.values():
            kernel.on_startup = on_startup
        return bench, starts

    return make


@pytest.mark.portable(27, 28)
@pytest.mark.rule("R10", "R21", "R22", "R36")
@BOTH_MODES
def test_one_init_and_one_sipi_to_all_others_start_every_ap(started, mode):
    """INIT all-but-self with assert, one SIPI all-but-self without; then each can be called"""
    bench, starts = started(4, mode)
    others = Shorthand.ALL_EXCLUDING_SELF
    bench.execute(
        0,
        WriteIcr(icr_word(shorthand=others, delivery_mode=DeliveryMode.INIT, level=True)),
        WriteIcr(shorthand_word(others, TRAMPOLINE, delivery_mode=DeliveryMode.STARTUP)),
    )
    bench.run()
    assert sorted(starts) == [(1, TRAMPOLINE), (2, TRAMPOLINE), (3, TRAMPOLINE)]
    for apic_id in (1, 2, 3):
        bench.execute(0, WriteIcr(fixed(apic_id, CALLED)))
        assert bench.run() == [(apic_id, CALLED)]


@pytest.mark.portable(26)
@pytest.mark.rule("R9", "R10", "R21", "R22")
@BOTH_MODES
def test_a_boot_processor_that_sends_itself_init_starts_over(make_bench, mode):
    """self shorthand, level = 0, trigger = edge: a soft reset, memory and the others unharmed"""
    bench = make_bench(mode=mode)
    bench.machine.memory.store(0, 0x1234, 8)
    runs = []

    def program(cpu):
        runs.append((cpu.apic.svr, cpu.interrupts_enabled, cpu.apic.mode, cpu.load(0, 8)))
        if len(runs) == 1:
            yield WriteIcr(shorthand_word(Shorthand.SELF, 0, delivery_mode=DeliveryMode.INIT))
            runs.append("went on after INIT")
        yield Nop()

    bench.start(0, program)
    bench.run()
    assert runs == [(0x1FF, True, mode, 0x1234), (0xFF, False, mode, 0x1234)]
    assert bench.cpus[1].apic.svr == 0x1FF


@pytest.mark.portable(27)
@pytest.mark.rule("R9", "R10", "R36")
@BOTH_MODES
def test_init_and_sipi_bring_a_cpu_back_once(started, mode):
    """INIT with assert, a while, SIPI without"""
    bench, starts = started(2, mode)
    bench.execute(0, WriteIcr(init_assert(1)))
    bench.run()
    assert (starts, bench.cpus[1].activity) == ([], "wait-for-sipi")
    bench.execute(0, WriteIcr(startup(1, TRAMPOLINE)))
    bench.run()
    assert (starts, bench.cpus[1].boots) == ([(1, TRAMPOLINE)], 1)
    bench.execute(0, WriteIcr(fixed(1, CALLED)))
    assert bench.run() == [(1, CALLED)]


@pytest.mark.portable(28)
@pytest.mark.rule("R36")
@BOTH_MODES
def test_a_second_sipi_finds_nobody_waiting(started, mode):
    """SIPI in wait-for-SIPI acts, one to an active CPU is ignored"""
    bench, starts = started(2, mode)
    bench.execute(0, WriteIcr(init_assert(1)), WriteIcr(startup(1, TRAMPOLINE)))
    bench.run()
    bench.execute(0, WriteIcr(startup(1, TRAMPOLINE + 1)))
    bench.run()
    assert (starts, bench.cpus[1].boots) == ([(1, TRAMPOLINE)], 1)
    assert bench.cpus[1].kernel.accept(1, startup(1, 9)) is Outcome.REJECTED_NOT_WAITING_FOR_SIPI


@pytest.mark.portable(53)
@pytest.mark.rule("R20", "R21", "R36", "R46", "R50")
@pytest.mark.rows(3)
def test_the_boot_string_of_xv6_starts_each_ap_once(rows, started):
    """ESR, ESR, EOI, 0x88500, then per AP 0xC500, 0x8500 and two SIPIs, in xAPIC mode"""
    bench, starts = started(4, ApicMode.XAPIC)
    statuses = set()

    def icr(low, destination=0):
        yield WriteRegister(Register.ICR2, destination << 24)
        yield WriteRegister(Register.ICR, low)
        statuses.add((yield ReadRegister(Register.ICR)) >> 12 & 1)

    def boot(cpu):
        for register in (Register.ESR, Register.ESR, Register.EOI):
            yield WriteRegister(register, 0)
        yield from icr(0x88500)
        for apic_id in (1, 2, 3):
            for low in (0xC500, 0x8500, 0x600 | TRAMPOLINE, 0x600 | TRAMPOLINE):
                yield from icr(low, apic_id)

    bench.start(0, boot)
    bench.run()
    rows.assert_each(
        (1, 2, 3),
        lambda apic_id: (
            (starts.count((apic_id, TRAMPOLINE)), bench.cpus[apic_id].boots),
            (1, 1),
        ),
    )
    assert len(starts) == 3
    assert statuses == {0}
    assert bench.cpus[0].activity == "idle"
