"""A hypothesis state machine over two to four CPUs: the machine and the naive one never differ.

Every step is done to both, and after each the whole visible state of every CPU is compared (see
``Pair``). ``--model-steps N`` takes N steps instead of those of the quick tier; a million by hand:

    tests/run.sh -k state_machine --model-steps 1000000 --capture=no
"""

import pytest
from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from model_check.operands import (
    DFRS,
    ID_SETS,
    LOGICAL_IDS,
    bases,
    cpus,
    destinations,
    dwords,
    few_vectors,
    lows,
    modes,
    msrs,
    offsets,
    ranks,
    vectors,
    writes,
)
from model_check.pair import IA32_APIC_BASE, Pair
from naive import apic as plain
from naive.machine import ALL_BUT_SELF, FIXED, INIT, LOWEST, NMI, SIPI, SMI

QUICK_STEPS = 50_000
STEPS_PER_EXAMPLE = 250
"""Many more than these do not fit what hypothesis remembers of one example."""
EXAMPLES_PER_ROUND = 200
STEPS_PER_SECOND = 200
"""On a busy machine, at the least."""


class Machines(RuleBasedStateMachine):
    """The rules: what guests and operators can do."""

    cpu_count = 2
    steps = 0
    """Compared so far, in all examples of all counts."""

    @initialize(
        which=st.integers(0, 11),
        chosen=st.tuples(modes, modes, modes, modes),
        kernel_per_cpu=st.booleans(),
        logical=st.permutations(LOGICAL_IDS),
        deferring=st.integers(0, 15),
    )
    def boot(self, which, chosen, kernel_per_cpu, logical, deferring):
        sets = ID_SETS[self.cpu_count]
        ids = sets[which % len(sets)]
        self.pair = Pair(ids, chosen[: len(ids)], kernel_per_cpu=kernel_per_cpu)
        for cpu in range(len(ids)):
            self.pair.mmio_write(cpu, plain.LDR, logical[cpu] << 24)
            self.pair.defer(cpu, bool(deferring >> cpu & 1))

    def one(self, cpu):
        able = [each for each in range(len(self.pair.ids)) if self.pair.runs(each)]
        return able[cpu % len(able)] if able else 0

    def any(self, cpu):
        return cpu % len(self.pair.ids)

    def id_of(self, cpu):
        """The physical id by which a message finds the CPU, if the sender can say it."""
        apic = self.pair.naive.apics[self.any(cpu)]
        return apic.xapic_id if apic.mode == plain.XAPIC else apic.initial_id

    @invariant()
    def equal(self):
        if hasattr(self, "pair"):
            self.pair.compare()
            Machines.steps += 1

    # Messages.

    @rule(cpu=cpus, destination=destinations, low=lows)
    def send(self, cpu, destination, low):
        self.pair.send(self.one(cpu), destination, low)

    @rule(cpu=cpus, to=cpus, low=lows)
    def send_to_one(self, cpu, to, low):
        self.pair.send(self.one(cpu), self.id_of(to), low & ~0xC0800)

    @rule(
        cpu=cpus,
        to=cpus,
        several=st.lists(few_vectors, min_size=1, max_size=6),
        deferring=st.sampled_from([None, False, True, True]),
    )
    def fixed(self, cpu, to, several, deferring):
        if deferring is not None:
            self.pair.defer(self.any(to), deferring)
        for vector in several:
            self.pair.send(self.one(cpu), self.id_of(to), vector)

    @rule(cpu=cpus, shorthand=st.integers(1, 3), vector=vectors)
    def fixed_by_shorthand(self, cpu, shorthand, vector):
        self.pair.send(self.one(cpu), 0, shorthand << 18 | vector)

    @rule(
        cpu=cpus,
        to=st.lists(cpus, min_size=1, max_size=4),
        vector=few_vectors,
        lowest=st.booleans(),
    )
    def logical(self, cpu, to, vector, lowest):
        """To the logical ids that these CPUs have now."""
        destination = 0
        for each in to:
            apic = self.pair.naive.apics[self.any(each)]
            destination |= apic.logical_id() >> (24 if apic.mode == plain.XAPIC else 0)
        kind = LOWEST if lowest else FIXED
        self.pair.send(self.one(cpu), destination, 0x800 | kind << 8 | vector)

    @rule(cpu=cpus, to=cpus, kind=st.sampled_from([NMI, SMI, INIT, SIPI]), times=st.integers(1, 4))
    def core_message(self, cpu, to, kind, times):
        for _ in range(times):
            self.pair.send(self.one(cpu), self.id_of(to), kind << 8 | 0x4000)

    @rule(cpu=cpus, high=dwords, low=dwords)
    def icr(self, cpu, high, low):
        self.pair.icr(self.one(cpu), high, low)

    @rule(cpu=cpus, vector=vectors)
    def self_ipi(self, cpu, vector):
        self.pair.self_ipi(self.one(cpu), vector)

    @rule(destination=destinations | st.none(), to=cpus, low=lows)
    def inject(self, destination, to, low):
        if destination is None:
            destination, low = self.id_of(to), low & ~0xC0800
        if low >> 18 & 1 == 0:  # no APIC, no self
            self.pair.inject(destination, low & ~0x1000)

    @rule(cpu=cpus, kinds=st.lists(st.sampled_from([NMI, NMI, SMI, INIT, SIPI]), max_size=5))
    def under_shadow(self, cpu, kinds):
        """What arrives between STI and the next instruction waits for that (R57)."""
        cpu = self.one(cpu)
        self.pair.cli(cpu)
        self.pair.sti(cpu)
        for kind in kinds:
            self.pair.inject(self.id_of(cpu), kind << 8 | 0x4000)

    @rule(cpu=cpus, vector=vectors)
    def boot_others(self, cpu, vector):
        """INIT, then SIPI, to all but itself."""
        others = ALL_BUT_SELF << 18
        self.pair.send(self.one(cpu), 0, others | INIT << 8 | 0x4000)
        self.pair.send(self.one(cpu), 0, others | SIPI << 8 | vector)

    @rule(cpu=cpus, mode=modes, logical_id=st.sampled_from(LOGICAL_IDS), deferring=st.booleans())
    def revive(self, cpu, mode, logical_id, deferring):
        """Whatever became of the CPU, it runs again, software-enabled and with IF = 1."""
        pair = self.pair
        dead = [each for each in range(len(pair.ids)) if not pair.runs(each)]
        cpu = dead[0] if dead else self.any(cpu)
        for kind in (SMI, INIT, SIPI):
            pair.inject(self.id_of(cpu), kind << 8 | 0x4000)
        if pair.naive.apics[cpu].mode != mode:
            for step in (plain.DISABLED, plain.XAPIC, mode):
                pair.set_mode(cpu, step)
        pair.write(cpu, plain.SVR, 0x1FF)
        pair.mmio_write(cpu, plain.LDR, logical_id << 24)
        pair.defer(cpu, deferring)
        pair.sti(cpu)
        pair.nop(cpu)

    # Registers.

    @rule(cpu=cpus, write=writes)
    def write(self, cpu, write):
        self.pair.write(self.one(cpu), *write)

    @rule(cpu=cpus, logical_id=st.sampled_from(LOGICAL_IDS), dfr=st.sampled_from(DFRS))
    def address(self, cpu, logical_id, dfr):
        cpu = self.one(cpu)
        self.pair.write(cpu, plain.LDR, logical_id << 24)
        self.pair.write(cpu, plain.DFR, dfr)

    @rule(cpu=cpus, value=ranks)
    def tpr(self, cpu, value):
        self.pair.write(self.one(cpu), plain.TPR, value)

    @rule(cpu=cpus, value=st.integers(0, 0x10))
    def cr8(self, cpu, value):
        self.pair.cr8(self.one(cpu), value)

    @rule(cpu=cpus, enabled=st.booleans())
    def software_enable(self, cpu, enabled):
        self.pair.write(self.one(cpu), plain.SVR, 0x1FF if enabled else 0xFF)

    @rule(cpu=cpus, entry=st.sampled_from([0xFE, 0x41, 0x05, 0x100FE]), offset=offsets)
    def error_interrupt(self, cpu, entry, offset):
        """LVT ERROR unmasked, then an illegal vector, an illegal register and a new start."""
        cpu = self.one(cpu)
        self.pair.write(cpu, plain.LVTERR, entry)
        self.pair.self_ipi(cpu, entry & 0xF)
        self.pair.mmio_read(cpu, offset)
        self.pair.write(cpu, plain.ESR, 0)

    @rule(cpu=cpus)
    def errors(self, cpu):
        self.pair.write(self.one(cpu), plain.ESR, 0)
        self.pair.read(self.one(cpu), plain.ESR)

    @rule(cpu=cpus, offset=offsets, value=dwords | st.integers(0, 0xFF))
    def any_register(self, cpu, offset, value):
        self.pair.mmio_write(self.one(cpu), offset, value)
        self.pair.mmio_read(self.one(cpu), offset)

    @rule(cpu=cpus, offset=offsets, place=st.sampled_from([(0, 1), (1, 1), (3, 1), (0, 2), (2, 2)]))
    def part_of_a_register(self, cpu, offset, place):
        byte, size = place
        self.pair.mmio_read(self.one(cpu), offset + byte, size)
        self.pair.mmio_write(self.one(cpu), offset + byte, 0x41, size)

    @rule(cpu=cpus, msr=msrs, value=st.integers(0, 2**64 - 1) | st.integers(0, 0xFF))
    def any_msr(self, cpu, msr, value):
        self.pair.rdmsr(self.one(cpu), msr)
        self.pair.wrmsr(self.one(cpu), msr, value)

    @rule(cpu=cpus, value=bases | st.none(), mode=modes)
    def base(self, cpu, value, mode):
        if value is None:
            self.pair.set_mode(self.one(cpu), mode)
        else:
            self.pair.wrmsr(self.one(cpu), IA32_APIC_BASE, value)

    @rule(cpu=cpus, times=st.integers(1, 8))
    def eoi(self, cpu, times):
        for _ in range(times):
            self.pair.eoi(self.one(cpu))

    # The core.

    @rule(cpu=cpus)
    def cli(self, cpu):
        self.pair.cli(self.one(cpu))

    @rule(cpu=cpus, shadow=st.booleans())
    def sti(self, cpu, shadow):
        cpu = self.one(cpu)
        self.pair.sti(cpu)
        if not shadow:
            self.pair.nop(cpu)

    @rule(cpu=cpus)
    def mov_ss(self, cpu):
        self.pair.mov_ss(self.one(cpu))

    @rule(cpu=cpus, enabled=st.booleans())
    def hlt(self, cpu, enabled):
        cpu = self.one(cpu)
        if enabled:
            self.pair.sti(cpu)
        else:
            self.pair.cli(cpu)
        self.pair.hlt(cpu)

    @rule(cpu=cpus, yes=st.booleans())
    def defer(self, cpu, yes):
        self.pair.defer(self.any(cpu), yes)

    @rule(cpu=cpus)
    def hold_next_nmi(self, cpu):
        self.pair.hold_next_nmi(self.any(cpu))


class TwoCpus(Machines):
    cpu_count = 2


class ThreeCpus(Machines):
    cpu_count = 3


class FourCpus(Machines):
    cpu_count = 4


EACH = [TwoCpus, ThreeCpus, FourCpus]


def pytest_generate_tests(metafunc):
    """The steps are shared out to the counts of CPUs; so many take a while."""
    wanted = metafunc.config.getoption("--model-steps") or QUICK_STEPS
    share = -(-wanted // len(EACH))
    limit = pytest.mark.timeout(120 + share // STEPS_PER_SECOND)
    metafunc.parametrize(
        ("machines", "wanted"),
        [pytest.param(each, share, id=each.__name__, marks=limit) for each in EACH],
    )


@pytest.mark.rule("R9", "R23", "R29", "R36", "R38", "R42", "R43", "R44", "R46", "R50", "R57", "R58")
def test_the_machine_and_the_naive_one_never_differ(machines, wanted):
    Machines.steps = 0
    rounds = 0
    while Machines.steps < wanted:
        examples = -(-(wanted - Machines.steps) // STEPS_PER_EXAMPLE)
        rounds += 1
        # The seed is the round's number: what fails in CI fails here, in the same step.
        run_state_machine_as_test(
            seed(rounds)(machines),
            settings=settings(
                max_examples=min(examples, EXAMPLES_PER_ROUND),
                stateful_step_count=STEPS_PER_EXAMPLE,
                deadline=None,
                database=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
    print(f"\n{machines.__name__}: {Machines.steps} steps compared, no difference")
