"""Non-maskable interrupts: portable tests 10 to 12, 23, 29, 49 (rules R35, R46, R57 to R59)."""

import pytest

from mkrpc.instance.instructions import (
    Cli,
    Eoi,
    Hlt,
    Load,
    Nop,
    SelfIpi,
    Sti,
    WriteIcr,
)
from mkrpc.x86.icr import DeliveryMode, Shorthand, fixed, nmi, shorthand_word
from mkrpc.x86.irq_vectors import NMI_VECTOR

NMI_ASSERTED = 1 << 14
SELF_NMI = shorthand_word(Shorthand.SELF, 0, delivery_mode=DeliveryMode.NMI)


@pytest.mark.portable(10)
@pytest.mark.rule("R57", "R58")
@pytest.mark.rows(30_000, every=11)
def test_no_nmi_comes_between_sti_and_the_next_instruction(rows, make_bench):
    """one NMI at a time to a CPU that loops sti, test, nop, cli; at every place of the loop"""
    bench = make_bench(one_kernel=False)
    target = bench.cpus[1].kernel
    place = ["cli"]
    sent_at, taken_at = set(), set()

    def loop(cpu):
        yield Cli()  # an STI with IF = 1 would cast no shadow
        while True:
            for name, instruction in (
                ("sti", Sti()),
                ("test", Load(0)),
                ("nop", Nop()),
                ("cli", Cli()),
            ):
                place[0] = name
                yield instruction

    bench.install(NMI_VECTOR, lambda cpu: bench.ran.append(place[0]))
    bench.start(1, loop)

    def judge(number):
        target.advance(1 + number % 7)
        sent_at.add(place[0])
        bench.execute(0, WriteIcr(nmi(1) | NMI_ASSERTED))
        target.advance(1)
        taken, bench.ran[:] = bench.ran.copy(), []
        taken_at.update(taken)
        return (len(taken), "sti" in taken), (1, False)

    rows.assert_each(range(30_000), judge)
    assert sent_at == {"sti", "test", "nop", "cli"}
    assert taken_at == {"test", "nop", "cli"}


@pytest.mark.portable(11)
@pytest.mark.rule("R58", "R55")
@pytest.mark.rows(100_000, every=101)
def test_two_nmis_of_two_senders_both_count(rows, make_bench):
    """a CPU sends itself one by its own id while another sends it one, then Fixed 0x44"""
    bench = make_bench(one_kernel=False)
    latched = set()

    def handler(cpu):
        bench.ran.append((cpu.apic_id, NMI_VECTOR))
        yield Nop()
        yield Nop()

    bench.install(NMI_VECTOR, handler)

    def turns(count):
        for _ in range(count):
            bench.turn()

    def judge(number):
        for instruction in (Cli(), WriteIcr(nmi(0)), Sti()) if number % 3 == 0 else ():
            bench.cpus[0].execute(instruction)  # both will be latched before either is taken
        if number % 3:
            bench.execute(0, WriteIcr(nmi(0)))
        turns(number // 3 % 4)
        bench.execute(1, WriteIcr(nmi(0)))
        turns(number // 12 % 4)
        bench.execute(1, WriteIcr(fixed(0, 0x44)))
        if number % 3 == 0:
            latched.add(bench.cpus[0].apic.nmi_latched)
            bench.execute(0, Nop())
        return bench.run(), [(0, NMI_VECTOR), (0, NMI_VECTOR), (0, 0x44)]

    rows.assert_each(range(100_000), judge)
    assert latched == {2}


@pytest.mark.portable(12)
@pytest.mark.rule("R58")
@pytest.mark.rows(2000, every=23)
def test_nmis_sent_inside_the_nmi_handler_merge_into_one(rows, make_bench):
    """the handler sends itself ten more, level bit 0: two runs in all"""
    bench = make_bench(1)

    def handler(cpu):
        bench.ran.append((0, NMI_VECTOR))
        if len(bench.ran) == 1:
            for _ in range(10):
                yield WriteIcr(nmi(0))
            yield Nop()

    bench.install(NMI_VECTOR, handler)

    def judge(_round):
        bench.execute(0, WriteIcr(nmi(0)))
        return bench.run(), [(0, NMI_VECTOR)] * 2

    rows.assert_each(range(2000), judge)


@pytest.mark.portable(23)
@pytest.mark.rule("R58")
@pytest.mark.parametrize("word", [SELF_NMI, nmi(0)], ids=["self shorthand", "own id"])
def test_an_nmi_sent_by_the_nmi_handler_waits_for_its_iret(make_bench, word):
    """the second NMI runs after the first one's IRET, before the next instruction"""
    bench = make_bench(1)
    log = []

    def handler(cpu):
        first = "first begins" not in log
        name = "first" if first else "second"
        log.append(f"{name} begins")
        if first:
            yield WriteIcr(word)
        yield Nop()
        yield Nop()
        log.append(f"{name} ends")

    def program(cpu):
        yield WriteIcr(word)
        yield Load(0)
        log.append("program goes on")
        yield Nop()

    bench.install(NMI_VECTOR, handler)
    bench.start(0, program)
    bench.run()
    nested = ["first begins", "first ends", "second begins", "second ends"]
    if word == SELF_NMI:
        assert log == [*nested, "program goes on"]
    assert [entry for entry in log if entry != "program goes on"] == nested


@pytest.mark.portable(29)
@pytest.mark.rule("R35", "R59")
def test_an_nmi_to_itself_is_taken_at_once(make_bench):
    """self NMI with IF = 0: the handler has run when the next instruction begins"""
    bench = make_bench(1)
    seen = []

    def program(cpu):
        yield Cli()
        yield WriteIcr(SELF_NMI)
        seen.append(bench.ran.copy())
        yield Nop()

    bench.start(0, program)
    assert bench.run() == [(0, NMI_VECTOR)]
    assert seen == [[(0, NMI_VECTOR)]]


@pytest.mark.portable(29)
@pytest.mark.rule("R35", "R59")
@pytest.mark.parametrize("before_hlt", [Cli(), Sti()], ids=["IF=0", "IF=1"])
def test_an_nmi_of_another_cpu_ends_hlt(make_bench, before_hlt):
    """a halted CPU wakes, whatever IF is, and goes on after its HLT"""
    bench = make_bench()
    log = []

    def program(cpu):
        yield before_hlt
        yield Hlt()
        log.append(bench.ran.copy())

    bench.start(1, program)
    bench.run()
    assert (log, bench.cpus[1].activity) == ([], "halted")
    bench.execute(0, WriteIcr(nmi(1)))
    bench.run()
    assert log == [[(1, NMI_VECTOR)]]


@pytest.mark.portable(49)
@pytest.mark.rule("R35", "R46")
def test_an_eoi_of_an_nmi_handler_ends_the_interrupt_below_it(make_bench):
    """EOI by an NMI handler while 0x41 is in service: 0x4F gets in before 0x41 has ended"""
    bench = make_bench(1)
    log = []

    def interrupt(cpu):
        log.append(cpu.vector)
        if cpu.vector == 0x41:
            yield Sti()
            yield SelfIpi(0x4F)
            log.append("0x4f waits")
            yield WriteIcr(SELF_NMI)
            yield Nop()
        log.append((yield Eoi()))

    def nmi_handler(cpu):
        log.append("nmi")
        log.append((yield Eoi()))

    for vector in (0x41, 0x4F):
        bench.install(vector, interrupt)
    bench.install(NMI_VECTOR, nmi_handler)
    bench.execute(0, SelfIpi(0x41))
    bench.run()
    # The NMI ends 0x41, so 0x41's own EOI finds nothing in service.
    assert log == [0x41, "0x4f waits", "nmi", 0x41, 0x4F, 0x4F, None]
