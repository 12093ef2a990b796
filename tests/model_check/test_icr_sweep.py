"""All ICR low words, to every kind of destination, in both modes: the machine and the naive one.

65,536 low words (bits 15:0) x {self, own id, other, broadcast, absent, all, all but self} x
{xAPIC, x2APIC} = 917,504 rows. The quick tier takes every 97th, which is in step with no field.
After each row every CPU's IRR, ISR, latches and log, the sender's ICR, hidden ESR and #GP, and the
outcome of each leg are compared; at the end of each block of vectors also all registers.
"""

import random
from itertools import groupby

import pytest
from model_check.pair import ENABLED_SVR, Pair
from naive import apic as plain
from naive.machine import INIT, SIPI

IDS = (1, 2, 4, 8)
"""In xAPIC mode each is its own logical id in the flat model too."""
SENDER, OTHER, SOFTWARE_DISABLED, WAITING = range(4)
ABSENT = 0x40
LOW_WORDS = 0x10000
BLOCK = 0x100
"""Low words that differ in the vector alone."""
QUICK_EVERY = 97
MODES = [plain.XAPIC, plain.X2APIC]
SHORTHANDS = {"self": 1 << 18, "all": 2 << 18, "all but self": 3 << 18}
DESTINATIONS = ["self", "own id", "other", "broadcast", "absent", "all", "all but self"]
ROWS = [(mode, destination) for mode in MODES for destination in DESTINATIONS]
HIGH_SEED = 4


class Range:
    """Four CPUs that differ, one of which shoots: what it changed is put back after each row."""

    def __init__(self, mode: str, *, interrupts: bool = False) -> None:
        self.mode = mode
        self.interrupts = interrupts
        self.pair = Pair(IDS, [mode] * len(IDS))
        self.pair.write(SOFTWARE_DISABLED, plain.SVR, 0xFF)
        for cpu, apic_id in enumerate(IDS):
            self.pair.mmio_write(cpu, plain.LDR, apic_id << 24)
            self.pair.cli(cpu)
        self.pair.inject(IDS[WAITING], INIT << 8)
        self.drain()
        self.rows = 0

    def destination(self, name: str) -> int:
        ids = {"own id": IDS[SENDER], "other": IDS[OTHER], "absent": ABSENT}
        if name == "broadcast":
            return 0xFF if self.mode == plain.XAPIC else 0xFFFF_FFFF
        # What stands in the field beside a shorthand has no meaning: an id that would be reached.
        return ids.get(name, IDS[OTHER])

    def shoot(self, name: str, low: int) -> None:
        low |= SHORTHANDS.get(name, 0)
        pair, destination = self.pair, self.destination(name)
        if self.mode == plain.X2APIC:
            pair.wrmsr(SENDER, 0x830, destination << 32 | low)
        else:
            if pair.naive.apics[SENDER].icr_high != destination << 24:
                pair.mmio_write(SENDER, plain.ICR2, destination << 24)
            pair.mmio_write(SENDER, plain.ICR, low)
        pair.compare_states()
        self.rows += 1
        self.put_back()

    def put_back(self) -> None:
        """Errors become visible and are forgotten; INIT and SIPI are undone."""
        pair, apics, cores = self.pair, self.pair.naive.apics, self.pair.naive.cores
        if apics[SENDER].errors_hidden:
            pair.write(SENDER, plain.ESR, 0)
            pair.read(SENDER, plain.ESR)
        for cpu in (OTHER, SOFTWARE_DISABLED):
            if cores[cpu].waits_for_sipi:
                pair.inject(IDS[cpu], SIPI << 8)
                pair.mmio_write(cpu, plain.LDR, IDS[cpu] << 24)
        for cpu in (SENDER, OTHER):
            if apics[cpu].svr != ENABLED_SVR:
                pair.write(cpu, plain.SVR, ENABLED_SVR)
                pair.mmio_write(cpu, plain.LDR, IDS[cpu] << 24)
                self.open(cpu)
        if not cores[WAITING].waits_for_sipi:
            pair.inject(IDS[WAITING], INIT << 8)

    def open(self, cpu: int) -> None:
        if self.interrupts:
            self.pair.sti(cpu)
            self.pair.nop(cpu)

    def drain(self) -> None:
        """What is pending is taken, so that the next vectors do not merge with it."""
        self.pair.compare()
        for cpu in (SENDER, OTHER):
            self.pair.sti(cpu)
            self.pair.nop(cpu)
            if not self.interrupts:
                self.pair.cli(cpu)

    def sweep(self, name: str, low_words) -> None:
        for _, block in groupby(low_words, key=lambda low: low // BLOCK):
            for low in block:
                self.shoot(name, low)
            self.drain()


@pytest.mark.parametrize("interrupts", [False, True], ids=["IF=0", "IF=1"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.rule("R18", "R19", "R21", "R22", "R23", "R25", "R34", "R36", "R41", "R52")
def test_one_low_word_in_97_does_the_same_in_both(mode, interrupts):
    sweep = Range(mode, interrupts=interrupts)
    for number, name in enumerate(DESTINATIONS):
        # As if all destinations were one sequence of rows.
        first = -number * LOW_WORDS % QUICK_EVERY
        sweep.sweep(name, range(first, LOW_WORDS, QUICK_EVERY))
    assert sweep.rows == -(-len(DESTINATIONS) * LOW_WORDS // QUICK_EVERY)


@pytest.mark.full
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("mode", "name"), ROWS)
def test_every_low_word_does_the_same_in_both(mode, name):
    sweep = Range(mode)
    sweep.sweep(name, range(LOW_WORDS))
    assert sweep.rows == LOW_WORDS


def any_high_bits(mode, rows):
    """Bits 31:16 at random beside low words at random; seeded, so that all see the same."""
    drawn = random.Random(HIGH_SEED)
    sweep = Range(mode)
    for _ in range(rows):
        high = drawn.randrange(LOW_WORDS)
        if drawn.randrange(2):
            high &= 1 << drawn.randrange(16) | 0xC  # one bit beside the shorthand
        name = drawn.choice(["own id", "other", "broadcast", "absent"])
        sweep.shoot(name, high << 16 | drawn.randrange(LOW_WORDS))
        if sweep.rows % BLOCK == 0:
            sweep.drain()
    sweep.drain()
    sweep.pair.compare()
    assert sweep.rows == rows


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.rule("R18", "R19")
def test_bits_31_to_16_do_the_same_in_both(mode):
    any_high_bits(mode, 2500)


@pytest.mark.full
@pytest.mark.timeout(600)
@pytest.mark.parametrize("mode", MODES)
def test_bits_31_to_16_do_the_same_in_both_at_length(mode):
    any_high_bits(mode, 100_000)
