"""Errors, and what a software-disabled or spurious vector does: portable tests 46 to 48."""

from itertools import product

import pytest

from mkrpc.instance.instructions import Cli, Eoi, Nop, SelfIpi, Sti, WriteIcr, WriteRegister
from mkrpc.instance.kernel import KernelConfig
from mkrpc.outcome import Outcome
from mkrpc.simulation.machine import Machine
from mkrpc.x86.apic_base import GeneralProtection
from mkrpc.x86.apic_policy import ApicPolicy
from mkrpc.x86.icr import DeliveryMode, Shorthand, decode, fixed, icr_word
from mkrpc.x86.lapic import ApicMode, LocalApic
from mkrpc.x86.registers import Register, mmio_read, mmio_write, msr_of, rdmsr, wrmsr

XAPIC, X2APIC = ApicMode.XAPIC, ApicMode.X2APIC
BOTH_MODES = pytest.mark.parametrize("mode", [XAPIC, X2APIC])

REDIRECTABLE, SEND_ILLEGAL, RECEIVE_ILLEGAL, ILLEGAL_ADDRESS = 0x10, 0x20, 0x40, 0x80
MASKED, ERROR_VECTOR, ILLEGAL_ERROR_VECTOR = 1 << 16 | 0xFE, 0xFE, 0x0E
RESERVED_OFFSETS = [0x000, 0x010, 0x040, 0x070, 0x290, 0x2E0, 0x3A0, 0x3D0, 0x3F0, 0x400, 0xFF0]


def write(apic: LocalApic, register: int, value: int) -> None:
    if apic.mode is X2APIC:
        wrmsr(apic, msr_of(register), value)
    else:
        mmio_write(apic, register, value)


def read(apic: LocalApic, register: int) -> int:
    if apic.mode is X2APIC:
        return rdmsr(apic, msr_of(register))
    return mmio_read(apic, register)


def sends(mode: DeliveryMode = DeliveryMode.FIXED, shorthand: Shorthand = Shorthand.NONE):
    """An ICR write with that mode and shorthand, to another CPU if it has a destination."""

    def cause(apic, vector):
        apic.write_icr(
            icr_word(vector=vector, delivery_mode=mode, shorthand=shorthand, destination=9)
        )

    return cause


def self_ipi(apic, vector):
    if apic.mode is X2APIC:
        apic.write_self_ipi(vector)
    else:
        sends(shorthand=Shorthand.SELF)(apic, vector)


def receives(mode: DeliveryMode):
    return lambda apic, vector: apic.accept(
        decode(icr_word(vector=vector, delivery_mode=mode, destination=1))
    )


# What happens, with a vector below 16, and the ESR bits of it.
CAUSES = {
    "sends fixed": (sends(), SEND_ILLEGAL),
    "sends fixed to all": (sends(shorthand=Shorthand.ALL_INCLUDING_SELF), SEND_ILLEGAL),
    "sends fixed to itself": (sends(shorthand=Shorthand.SELF), SEND_ILLEGAL),
    "self IPI": (self_ipi, SEND_ILLEGAL),
    "sends lowest priority": (sends(DeliveryMode.LOWEST_PRIORITY), SEND_ILLEGAL),
    "receives fixed": (receives(DeliveryMode.FIXED), RECEIVE_ILLEGAL),
    "receives lowest priority": (receives(DeliveryMode.LOWEST_PRIORITY), RECEIVE_ILLEGAL),
    **{
        f"{verb} {mode.name}": (act(mode), 0)
        for (verb, act), mode in product(
            (("sends", sends), ("receives", receives)),
            (DeliveryMode.SMI, DeliveryMode.NMI, DeliveryMode.INIT, DeliveryMode.STARTUP),
        )
    },
}
# What LVT ERROR holds, what it adds to the ESR of an error, and the vector that it delivers.
LVT_ERROR = {
    "masked": (MASKED, 0, None),
    "unmasked": (ERROR_VECTOR, 0, ERROR_VECTOR),
    "itself illegal": (ILLEGAL_ERROR_VECTOR, RECEIVE_ILLEGAL, None),
}


@pytest.mark.portable(46)
@pytest.mark.rule("R50", "R51", "R52", "R53")
@pytest.mark.rows(2 * 15 * 3 * 16)
def test_esr_after_an_illegal_vector(rows):
    """sent and received in each mode, vectors 0 to 15, with three settings of LVT ERROR"""

    def judge(mode, cause, lvt, vector):
        apic = LocalApic(1, mode=mode)
        apic.write_svr(0x1FF)
        act, bits = CAUSES[cause]
        entry, more, delivered = LVT_ERROR[lvt]
        write(apic, Register.LVT_ERROR, entry)
        act(apic, vector)
        act(apic, vector)  # the same error again raises nothing until ESR is written
        before = read(apic, Register.ESR)
        esr = []
        for _ in range(2):
            write(apic, Register.ESR, 0)
            esr.append(read(apic, Register.ESR))
        irr = 1 << delivered if bits and delivered is not None else 0
        return (before, esr, apic.irr), (0, [bits | more if bits else 0, 0], irr)

    modes = (XAPIC, X2APIC)
    rows.assert_each(product(modes, CAUSES, LVT_ERROR, range(16)), judge)


@pytest.mark.portable(46)
@pytest.mark.rule("R52")
@BOTH_MODES
@pytest.mark.parametrize(
    ("choice", "bits"),
    [
        ("send", SEND_ILLEGAL),
        ("receive", RECEIVE_ILLEGAL),
        ("both", SEND_ILLEGAL | RECEIVE_ILLEGAL),
    ],
)
def test_an_illegal_self_ipi_is_the_error_that_the_policy_says(mode, choice, bits):
    """bit 5, bit 6 or both for a vector below 16 to itself; IRR stays empty"""
    apic = LocalApic(1, mode=mode, policy=ApicPolicy(self_ipi_illegal_vector=choice))
    apic.write_svr(0x1FF)
    self_ipi(apic, 15)
    write(apic, Register.ESR, 0)
    assert (read(apic, Register.ESR), apic.irr) == (bits, 0)


@pytest.mark.portable(46)
@pytest.mark.rule("R32", "R51")
@pytest.mark.rows(2 * 256)
def test_an_unsupported_lowest_priority_ipi_is_bit_4_alone(rows):
    """lowest priority where it is not supported, legal and illegal vectors"""

    def judge(mode, vector):
        apic = LocalApic(1, mode=mode, policy=ApicPolicy(lowest_priority="unsupported"))
        apic.write_svr(0x1FF)
        sends(DeliveryMode.LOWEST_PRIORITY)(apic, vector)
        write(apic, Register.ESR, 0)
        return read(apic, Register.ESR), REDIRECTABLE

    rows.assert_each(product((XAPIC, X2APIC), range(256)), judge)


@pytest.mark.portable(46)
@pytest.mark.rule("R13", "R50", "R51")
@pytest.mark.parametrize("offset", RESERVED_OFFSETS)
@pytest.mark.parametrize("access", ["load", "store"])
def test_a_reserved_offset_is_bit_7_in_xapic_mode_alone(offset, access):
    """loads and stores of reserved offsets; in x2APIC mode the page is not there"""
    esr = []
    for mode in (XAPIC, X2APIC):
        apic = LocalApic(1, mode=mode)
        if access == "load":
            mmio_read(apic, offset)
        else:
            mmio_write(apic, offset, 1)
        write(apic, Register.ESR, 0)
        esr.append(read(apic, Register.ESR))
    assert esr == [ILLEGAL_ADDRESS, 0]


@pytest.mark.portable(46)
@pytest.mark.rule("R50")
def test_an_esr_write_takes_any_value_in_xapic_mode_and_0_in_x2apic_mode():
    """the value written to ESR"""
    apics = {mode: LocalApic(1, mode=mode) for mode in (XAPIC, X2APIC)}
    for apic in apics.values():
        apic.write_icr(fixed(2, 3))
    mmio_write(apics[XAPIC], Register.ESR, 0xFFFFFFFF)
    assert mmio_read(apics[XAPIC], Register.ESR) == SEND_ILLEGAL
    with pytest.raises(GeneralProtection):
        wrmsr(apics[X2APIC], msr_of(Register.ESR), 1)
    assert rdmsr(apics[X2APIC], msr_of(Register.ESR)) == 0
    wrmsr(apics[X2APIC], msr_of(Register.ESR), 0)
    assert rdmsr(apics[X2APIC], msr_of(Register.ESR)) == SEND_ILLEGAL


@pytest.mark.portable(46)
@pytest.mark.rule("R50", "R53")
@BOTH_MODES
def test_an_esr_write_rearms_lvt_error(mode):
    """an error, taken; again without and with an ESR write between"""
    apic = LocalApic(1, mode=mode)
    apic.write_svr(0x1FF)
    write(apic, Register.LVT_ERROR, ERROR_VECTOR)
    taken = []
    for writes_esr in (False, False, True):
        if writes_esr:
            write(apic, Register.ESR, 0)
        apic.write_icr(fixed(2, 3))
        taken.append(apic.highest_deliverable())
        if taken[-1] >= 0:
            apic.acknowledge()
            apic.eoi()
    assert taken == [ERROR_VECTOR, -1, ERROR_VECTOR]


@pytest.mark.portable(47)
@pytest.mark.rule("R37", "R38", "R40")
@BOTH_MODES
def test_software_disable_keeps_what_is_pending_and_drops_what_comes(make_bench, mode):
    """pending at SVR = 0xFF, more sent meanwhile, enabled again: what was pending runs"""
    bench = make_bench(mode=mode)
    apic = bench.cpus[1].apic
    bench.execute(1, Cli())
    bench.execute(0, WriteIcr(fixed(1, 0x41)))
    bench.execute(1, WriteRegister(Register.SVR, 0xFF), Sti(), Nop())
    bench.execute(0, WriteIcr(fixed(1, 0x51)), WriteIcr(fixed(1, 0x41)))
    bench.execute(1, SelfIpi(0x61))
    assert (bench.run(), apic.irr, apic.isr) == ([], 1 << 0x41, 0)
    assert apic.accept(decode(fixed(1, 0x51))) is Outcome.REJECTED_SOFTWARE_DISABLED
    bench.execute(1, WriteIcr(fixed(0, 0x71)))  # it can still send to others
    bench.execute(1, WriteRegister(Register.SVR, 0x1FF))
    assert bench.run() == [(0, 0x71), (1, 0x41)]


@pytest.mark.portable(48)
@pytest.mark.rule("R47")
@BOTH_MODES
@pytest.mark.parametrize("spurious", [0xFF, 0x6F, 0x3F])
def test_an_ipi_of_the_spurious_vector_stays_in_service(make_bench, mode, spurious):
    """sent as Fixed, ended by nobody: its class and those below wait for an EOI"""
    bench = make_bench(mode=mode)
    apic = bench.cpus[1].apic
    bench.install(spurious, lambda cpu: bench.ran.append((cpu.apic_id, cpu.vector)))
    bench.execute(1, WriteRegister(Register.SVR, 0x100 | spurious))
    below, above = spurious & 0xF0, spurious + 1
    words = [fixed(1, spurious), fixed(1, below), *([fixed(1, above)] if above < 0x100 else [])]
    bench.execute(0, *map(WriteIcr, words))
    higher = [(1, above)] if above < 0x100 else []
    assert bench.run() == [(1, spurious), *higher]
    assert (apic.isr, apic.irr) == (1 << spurious, 1 << below)
    assert bench.execute(1, Eoi()) == spurious
    assert bench.run() == [(1, below)]


@pytest.mark.portable(48)
@pytest.mark.rule("R47", "R46")
def test_the_spurious_handler_of_linux_sends_no_eoi():
    """0xFF as Fixed to a kernel with the handler that Linux has: counted, and left in service"""
    machine = Machine([KernelConfig(instance_id=0, name="host", apic_ids=(0,))])
    cpu = machine.cpu(0)
    cpu.execute(SelfIpi(0xFF))
    cpu.execute(SelfIpi(0xEA))
    machine.settle()
    assert (cpu.irq_stat.irq_spurious_count, cpu.multikernel_count) == (1, 0)
    assert (cpu.apic.isr, cpu.apic.irr) == (1 << 0xFF, 1 << 0xEA)
    assert machine.bus.balance() == []
