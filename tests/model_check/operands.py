"""What the state machine draws: few words that meet, and wild ones that need not."""

from hypothesis import strategies as st
from model_check.pair import IA32_APIC_BASE
from naive import apic as plain
from naive.machine import FIXED, INIT, LOWEST, NMI, SIPI, SMI

ID_SETS = {
    2: [(0, 1), (1, 0x101), (0x20, 0x2F)],
    3: [(0, 1, 2), (3, 0x11, 0x12), (1, 0x101, 0xFF)],
    4: [(0, 1, 2, 4), (0, 1, 0x20, 0x21), (1, 2, 0x101, 0x10002), (0, 0x10, 0x100, 0x1F)],
}

# Which of the CPUs: of those that can execute, where something is to be executed.
cpus = st.integers(0, 11)
modes = st.sampled_from([plain.XAPIC, plain.X2APIC])
dwords = st.integers(0, 0xFFFF_FFFF)
FEW = [0x31, 0x41, 0x45, 0x4F, 0x51, 0x5E, 0xEA]
"""Of few classes, so that they meet."""
few_vectors = st.sampled_from(FEW)
vectors = st.sampled_from([*FEW, 0xFF, 0xFE, 0x10, 0x1F, 0x20, 0x0F, 0x05]) | st.integers(0, 0xFF)
destinations = st.one_of(
    st.integers(0, 0x12),
    st.sampled_from([0x20, 0x21, 0x2F, 0x1F, 0x100, 0x101, 0x10002, 0x1FF, 0x33, 0xF0, 0xF3]),
    st.sampled_from([0xFF, 0xFFFF_FFFF]),
    st.sampled_from([0x1_0001, 0x1_0006, 0x2_8003, 0x10_0003, 0x1000_0004, 0xFFFF, 0x1_8000]),
    dwords,
)
SHORTHANDS = [0, 0, 0, 1 << 18, 2 << 18, 3 << 18]
KINDS = [FIXED] * 6 + [LOWEST, LOWEST, NMI, SMI, INIT, SIPI, 3, 7]
FLAGS = [0, 0x800, 0x4000, 0xC000, 0x8000, 0x4800, 0x1000, 0x5000]
"""Of destination mode, delivery status, level and trigger."""
lows = st.builds(
    lambda vector, kind, shorthand, flags: vector | kind << 8 | shorthand | flags,
    vectors,
    st.sampled_from(KINDS),
    st.sampled_from(SHORTHANDS),
    st.sampled_from(FLAGS),
)
ranks = st.sampled_from([0, 0, 0x10, 0x30, 0x35, 0x3F, 0x40, 0x4A, 0xE0, 0xF0]) | st.integers(
    0, 255
)
LOGICAL_IDS = [0x01, 0x02, 0x04, 0x08, 0x03, 0x11, 0x12, 0x21, 0x33, 0xF1, 0xFF, 0x00]
DFRS = [0xFFFF_FFFF, 0x0FFF_FFFF, 0, 0xF000_0000, 0x7000_0000]
LVT_VALUES = [0xFE, 0x41, 0x05, 0x100FE, 0x10041, 0x1F7FF, 0x717FF, 0x1000, 0x4400]
VALUES = {
    plain.SVR: [0x1FF, 0xFF, 0x1FF, 0x3FF, 0x100, 0x10F, 0x1041, 0x2FF],
    plain.ID: [each << 24 for each in (0, 1, 2, 5, 0x11, 0xFF)],
    plain.TDCR: [0, 0xB, 0xF, 0xFFFF_FFFF],
    plain.TMICT: [0, 1, 0xFFFF_FFFF],
    plain.ICR2: [each << 24 for each in (0, 1, 2, 0xFF)] + [0x00FF_FFFF],
    plain.LVTT: LVT_VALUES,
    plain.LINT0: LVT_VALUES,
    plain.LVTERR: LVT_VALUES,
}
writes = st.sampled_from([(offset, value) for offset, values in VALUES.items() for value in values])
offsets = st.integers(0, 0x40).map(lambda register: register * 16)
msrs = st.integers(0x800, 0x8FF) | st.integers(0x800, 0x840) | st.just(IA32_APIC_BASE)
bases = st.builds(
    lambda bits, flip: bits ^ (1 << flip if flip < 64 else 0),
    st.sampled_from([0xFEE00000, 0xFEE00100, 0xFEE00800, 0xFEE00900, 0xFEE00C00, 0xFED40D00]),
    st.integers(0, 120),
)
