"""Who is reached: portable tests 5 to 9, 15, 41, 50 and 51 (rules R22 to R30).

Rows run on local APICs and the destination map, each answer compared with the predicate too; a
sample of them, and the whole in the full tier, on a machine with handlers.
"""

from collections.abc import Iterator
from itertools import chain, permutations, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mkrpc.instance.instructions import WriteIcr, WriteRegister, Wrmsr
from mkrpc.x86.apic_base import APIC_BASE_ADDRESS, APIC_BASE_ENABLE, APIC_BASE_EXTD
from mkrpc.x86.destination import DestinationMap, matches
from mkrpc.x86.icr import BROADCAST, Shorthand, decode, fixed, shorthand_word
from mkrpc.x86.lapic import ApicMode, LocalApic
from mkrpc.x86.registers import IA32_APIC_BASE, Register, mmio_write

VECTOR = 0xCF
FLAT, CLUSTER = 0xFFFFFFFF, 0x0FFFFFFF
FLAT_BITS = [1 << i for i in range(8)]
CLUSTER_BITS = [1 << i for i in range(4)]
CLUSTERS = range(15)  # the sixteenth holds the broadcast
LOGICAL = 1 << 11

# A row: (DFR, LDR) of the sender, id 0, and of the other, id 1; the destination; who is reached.
Row = tuple[tuple[int, int], tuple[int, int], int, tuple[int, ...]]


def supersets(wanted: int, width: int) -> Iterator[int]:
    """All masks of ``width`` bits that contain the wanted ones."""
    return (wanted | k for k in range(1 << width) if not k & wanted)


def flat_single() -> Iterator[Row]:
    for bit in FLAT_BITS:
        for destination in supersets(bit, 8):
            if destination != 0xFF:
                yield (FLAT, 0), (FLAT, bit), destination, (1,)


def cluster_single() -> Iterator[Row]:
    for cluster, bit in product(CLUSTERS, CLUSTER_BITS):
        for mask in supersets(bit, 4):
            yield (FLAT, 0), (CLUSTER, cluster << 4 | bit), cluster << 4 | mask, (1,)


def flat_multi() -> Iterator[Row]:
    for one, other in permutations(FLAT_BITS, 2):
        for destination in supersets(one | other, 8):
            yield (FLAT, one), (FLAT, other), destination, (0, 1)
            yield (FLAT, one | other), (FLAT, one | other), destination, (0, 1)


def cluster_multi() -> Iterator[Row]:
    for cluster, (one, other) in product(CLUSTERS, permutations(CLUSTER_BITS, 2)):
        place = cluster << 4
        for mask in supersets(one | other, 4):
            to, both = place | mask, place | one | other
            yield (CLUSTER, place | one), (CLUSTER, place | other), to, (0, 1)
            yield (CLUSTER, both), (CLUSTER, both), to, (0, 1)


class Pair:
    """Two xAPICs and the map of their addresses; id 0 sends."""

    def __init__(self) -> None:
        self.apics = [LocalApic(apic_id) for apic_id in range(2)]
        self.map = DestinationMap()
        for apic in self.apics:
            mmio_write(apic, Register.SVR, 0x1FF)

    def judge(self, sender, other, destination, reached):
        for apic, (dfr, ldr) in zip(self.apics, (sender, other), strict=True):
            mmio_write(apic, Register.DFR, dfr)
            mmio_write(apic, Register.LDR, ldr << 24)
            self.map.put(apic.address)
        mmio_write(self.apics[0], Register.ICR2, destination << 24)
        write = mmio_write(self.apics[0], Register.ICR, LOGICAL | VECTOR)
        assert write is not None
        assert write.settled is None
        icr = decode(write.word)
        ran = []
        for apic_id in self.map.resolve(write.word, 0):
            apic = self.apics[apic_id]
            apic.accept(icr)
            assert (apic.acknowledge(), apic.eoi()) == (VECTOR, VECTOR)
            ran.append(apic_id)
        by_predicate = [
            apic.initial_id for apic in self.apics if matches(icr, source=0, target=apic.address)
        ]
        return (tuple(ran), tuple(by_predicate)), (reached, reached)


@pytest.mark.portable(6)
@pytest.mark.rule("R27")
@pytest.mark.rows(1016)
def test_a_flat_destination_with_bits_of_nobody_reaches_the_one(rows):
    """xAPIC logical, flat model, one CPU has a bit of the destination"""
    rows.assert_each(flat_single(), Pair().judge)


@pytest.mark.portable(7)
@pytest.mark.rule("R27")
@pytest.mark.rows(480)
def test_a_cluster_destination_with_bits_of_nobody_reaches_the_one(rows):
    """xAPIC logical, cluster model, one CPU of the cluster has a bit"""
    rows.assert_each(cluster_single(), Pair().judge)


@pytest.mark.portable(8)
@pytest.mark.rule("R27")
@pytest.mark.rows(7168)
def test_a_flat_destination_reaches_every_cpu_with_one_of_its_bits(rows):
    """xAPIC logical, flat model, two CPUs with one bit each or with both"""
    rows.assert_each(flat_multi(), Pair().judge)


@pytest.mark.portable(9)
@pytest.mark.rule("R27")
@pytest.mark.rows(1440)
def test_a_cluster_destination_reaches_every_cpu_with_one_of_its_bits(rows):
    """xAPIC logical, cluster model, two CPUs of the cluster"""
    rows.assert_each(cluster_multi(), Pair().judge)


@pytest.mark.portable(6, 7, 8, 9)
@pytest.mark.rule("R27", "R19")
@pytest.mark.rows(10_104, every=37)
def test_logical_destinations_run_their_handlers(rows, make_bench):
    """the same rows on a machine: handlers run, each once"""
    bench = make_bench(one_kernel=False, mode=ApicMode.XAPIC)

    def judge(sender, other, destination, reached):
        for cpu, (dfr, ldr) in enumerate((sender, other)):
            bench.execute(
                cpu, WriteRegister(Register.DFR, dfr), WriteRegister(Register.LDR, ldr << 24)
            )
        bench.execute(
            0,
            WriteRegister(Register.ICR2, destination << 24),
            WriteRegister(Register.ICR, LOGICAL | VECTOR),
        )
        return sorted(bench.run()), [(apic_id, VECTOR) for apic_id in reached]

    table = chain(flat_single(), cluster_single(), flat_multi(), cluster_multi())
    rows.assert_each(table, judge)


@pytest.mark.portable(5)
@pytest.mark.rule("R23", "R25")
@pytest.mark.parametrize("one_kernel", [True, False], ids=["one kernel", "a kernel per CPU"])
@pytest.mark.parametrize(
    ("mode", "word"),
    [
        pytest.param(ApicMode.XAPIC, fixed(0xFF, VECTOR), id="xAPIC 0xFF"),
        pytest.param(ApicMode.X2APIC, fixed(BROADCAST, VECTOR), id="x2APIC 0xFFFFFFFF"),
        *(
            pytest.param(
                mode,
                shorthand_word(Shorthand.ALL_INCLUDING_SELF, VECTOR),
                id=f"{mode.name} all-including-self",
            )
            for mode in (ApicMode.XAPIC, ApicMode.X2APIC)
        ),
    ],
)
def test_a_broadcast_runs_once_on_every_cpu(make_bench, mode, word, one_kernel):
    """physical broadcast and all-including-self reach every CPU, the sender included"""
    bench = make_bench(3, mode=mode, one_kernel=one_kernel)
    bench.execute(0, WriteIcr(word))
    assert sorted(bench.run()) == [(0, VECTOR), (1, VECTOR), (2, VECTOR)]


@pytest.mark.portable(15)
@pytest.mark.rule("R26", "R7")
@pytest.mark.rows(256)
def test_two_xapics_of_one_id_both_take_what_is_sent_to_it(rows, make_bench):
    """aliased xAPIC ids 0 to 0xFE, then the broadcast 0xFF; handlers move the id on"""
    bench = make_bench(mode=ApicMode.XAPIC)
    ran = []

    def handler(cpu):
        xapic_id = cpu.mmio_read(Register.ID) >> 24
        ran.append((cpu.apic_id, xapic_id))
        following = xapic_id + 1 if xapic_id < 0xFF else cpu.apic_id
        cpu.mmio_write(Register.ID, following << 24)
        cpu.apic_eoi()

    bench.install(VECTOR, handler)
    for cpu in (0, 1):
        bench.execute(cpu, WriteRegister(Register.ID, 0))

    def judge(destination):
        ran.clear()
        bench.execute(0, WriteIcr(fixed(destination, VECTOR)))
        bench.run()
        return sorted(ran), [(0, destination), (1, destination)]

    rows.assert_each(range(256), judge)
    assert [cpu.apic.xapic_id for cpu in bench.cpus] == [0, 1]


# Mixed modes: ids 1 and 5 are xAPICs with LDR bits 1 and 5, the others x2APICs.
XAPICS, X2APICS = (1, 5), (0xFF, 0x101)
EVERYBODY = (1, 5, 0xFF, 0x101)
MIXED = [
    # sender, destination, logical, reached
    (0x101, 0x1, False, (1,)),
    (0x101, 0x5, False, (5,)),
    (0x101, 0x101, False, (1, 0x101)),
    (0x101, 0x105, False, (5,)),
    (0x101, 0x201, False, (1,)),
    (0x101, 0xFF, False, (1, 5, 0xFF)),
    (0x101, 0x1FF, False, (1, 5)),
    (0x101, 0x2FE, False, ()),
    (0x101, BROADCAST, False, EVERYBODY),
    (1, 0xFF, False, (1, 5, 0xFF)),
    (1, 0x101, False, (1,)),
    (1, 5, False, (5,)),
    (0x101, 0x100002, True, (1, 0x101)),  # cluster 0x10 bit 1, which an xAPIC sees as mask 0x02
    (0x101, 0xF8000, True, (0xFF,)),  # cluster 0xF bit 15, of which an xAPIC sees no bit
    (0x101, 0x22, True, (1, 5)),
    (0x101, 0x3000FF, True, (1, 5)),
    (0x101, BROADCAST, True, EVERYBODY),
    (1, 0xFF, True, (1, 5)),
    (1, 0x20, True, (5,)),
]


def mixed_machine() -> dict[int, LocalApic]:
    apics = {apic_id: LocalApic(apic_id) for apic_id in XAPICS}
    for apic_id, apic in apics.items():
        mmio_write(apic, Register.LDR, 1 << apic_id << 24)
    return apics | {apic_id: LocalApic(apic_id, mode=ApicMode.X2APIC) for apic_id in X2APICS}


@pytest.mark.portable(50)
@pytest.mark.rule("R29", "R25", "R28", "R30")
@pytest.mark.rows(19)
def test_each_target_decides_in_its_own_mode(rows):
    """xAPICs and x2APICs in one machine: an xAPIC sees 8 bits of any destination"""
    apics = mixed_machine()
    addresses = [apic.address for apic in apics.values()]

    def judge(sender, destination, logical, reached):
        write = apics[sender].write_icr(fixed(destination, VECTOR, logical=logical))
        icr = decode(write.word)
        found = DestinationMap(addresses).resolve(write.word, sender)
        hit = [a.initial_id for a in addresses if matches(icr, source=sender, target=a)]
        return (found, tuple(sorted(hit))), (reached, reached)

    rows.assert_each(MIXED, judge)


@pytest.mark.portable(51)
@pytest.mark.rule("R30")
@pytest.mark.parametrize(
    ("destination", "reached"),
    [(0x105, 5), (0x5, 5), (0xFF00, 0), (0x1FF, 0xFF), (BROADCAST, 0xFF), (0xABCDEF12, 0x12)],
)
def test_an_xapic_sends_the_low_eight_bits_of_a_destination(destination, reached):
    """the destination of an xAPIC is cut to 8 bits, that of an x2APIC is not"""
    for mode, sent in ((ApicMode.XAPIC, reached), (ApicMode.X2APIC, destination)):
        write = LocalApic(0, mode=mode).write_icr(fixed(destination, VECTOR))
        assert write.word == sent << 32 | VECTOR


CHANGES = st.one_of(
    st.tuples(st.just("toggle"), st.booleans()),
    st.tuples(st.sampled_from(["ID", "LDR", "DFR"]), st.integers(0, 0xFF)),
    st.tuples(st.just("SVR"), st.booleans()),
    st.tuples(st.just("base"), st.sampled_from(list(ApicMode))),
)
PROBES = [
    *(fixed(destination, VECTOR) for destination in (0, 1, 2, 0xFF, 0x102, BROADCAST)),
    *(fixed(to, VECTOR, logical=True) for to in (1, 2, 0x11, 0x22, 0xFF, 0x100004, BROADCAST)),
    *(shorthand_word(shorthand, VECTOR) for shorthand in Shorthand if shorthand),
]


def change(toggling: LocalApic, forcing: LocalApic, kind: str, value: int) -> LocalApic:
    """One step of either CPU; returns the one that did it."""
    if kind == "toggle":
        _enter(toggling, ApicMode.X2APIC if value else ApicMode.DISABLED)
        return toggling
    if kind == "base":
        _enter(forcing, ApicMode(value))
    elif kind == "SVR":
        forcing.write_svr(0x1FF if value else 0xFF)
    else:
        mmio_write(forcing, Register[kind], value << 24)
    return forcing


def _enter(apic: LocalApic, mode: ApicMode) -> None:
    """Over DISABLED and XAPIC, the only ways that there are (R2)."""
    bits = {ApicMode.DISABLED: 0, ApicMode.XAPIC: APIC_BASE_ENABLE}
    bits[ApicMode.X2APIC] = APIC_BASE_ENABLE | APIC_BASE_EXTD
    if apic.mode is not mode:
        for step in (ApicMode.DISABLED, ApicMode.XAPIC, ApicMode.X2APIC):
            if step <= mode:
                apic.set_apic_base(APIC_BASE_ADDRESS | bits[step])


@pytest.mark.portable(41)
@pytest.mark.rule("R2", "R23", "R25", "R26", "R27", "R28", "R29")
@given(st.lists(CHANGES, max_size=12))
def test_the_map_equals_the_predicate_while_two_cpus_change(changes):
    """one CPU toggles X2APIC and DISABLED while another changes its address: every look-up"""
    toggling, forcing = LocalApic(0x102, mode=ApicMode.X2APIC), LocalApic(2)
    apics = [LocalApic(0), LocalApic(1, mode=ApicMode.X2APIC), forcing, toggling]
    known = DestinationMap(apic.address for apic in apics)
    for kind, value in changes:
        known.put(change(toggling, forcing, kind, value).address)
        for word, source in product(PROBES, (0, 2, 0x102, None)):
            icr = decode(word)
            expected = [
                a.initial_id for a in apics if matches(icr, source=source, target=a.address)
            ]
            assert list(known.resolve(word, source)) == expected, (hex(word), source)


@pytest.mark.portable(41)
@pytest.mark.rule("R2", "R3", "R23")
@pytest.mark.rows(1000, every=7)
def test_sends_while_the_modes_change_end_as_the_target_is_found(rows, make_bench):
    """the same with three kernels: a CPU that has no mode gets nothing, and the books balance"""
    bench = make_bench(3, one_kernel=False)

    def judge(number):
        enabled = number % 3 > 0
        path = (APIC_BASE_ENABLE, APIC_BASE_ENABLE | APIC_BASE_EXTD) if enabled else ()
        for bits in (0, *path):
            bench.execute(1, Wrmsr(IA32_APIC_BASE, APIC_BASE_ADDRESS | bits))
        if enabled:
            bench.execute(1, WriteRegister(Register.SVR, 0x1FF))
        bench.execute(0, WriteIcr(fixed(1, VECTOR)), WriteIcr(fixed(BROADCAST, VECTOR)))
        expected = [(0, VECTOR), *[(1, VECTOR)] * (2 if enabled else 0), (2, VECTOR)]
        return sorted(bench.run()), expected

    rows.assert_each(range(1000), judge)
