"""What CPUs under load write down: on CPUs of a machine in one thread, read from the memory."""

from collections import Counter
from functools import partial
from itertools import pairwise

import pytest

from mkrpc.chaos.load import Load, Pairs, run_load
from mkrpc.chaos.tables import FIRST_VECTOR, MAX_LOAD_CPUS, Layout, Life, Vectors
from mkrpc.outcome import Outcome, OutcomeKind
from mkrpc.simulation.machine import MEMORY_BYTES
from mkrpc.x86.icr import fixed
from mkrpc.x86.irq_vectors import MULTIKERNEL_VECTOR

CPUS = 4
VECTORS = Vectors(CPUS)


@pytest.fixture
def machine(mk_machine):
    """Two instances of two CPUs, each with its program."""
    made = mk_machine(instances=2, cpus=2)
    for apic_id in range(CPUS):
        program = partial(run_load, load=Load(cpus=CPUS, seed=5, burst=40))
        made.cpu(apic_id).kernel.start_program(made.cpu(apic_id).number, program)
    made.settle()
    return made


def lives(machine) -> dict[int, Life]:
    memory = bytes(machine.cpu(0).load(at, 1) for at in range(MEMORY_BYTES))
    return {life.apic_id: life for life in Layout(CPUS, MEMORY_BYTES).read(memory)}


def test_every_cpu_has_vectors_of_its_own_and_none_of_the_kernel_s():
    vectors = Vectors(MAX_LOAD_CPUS)
    own = [
        *map(vectors.second, range(MAX_LOAD_CPUS)),
        *map(vectors.first, range(MAX_LOAD_CPUS)),
        *map(vectors.group, range(MAX_LOAD_CPUS)),
        vectors.client,
    ]
    assert own == list(range(FIRST_VECTOR, FIRST_VECTOR + len(own)))
    assert own[-1] < MULTIKERNEL_VECTOR
    assert all(vectors.first(n) > vectors.second(n) for n in range(MAX_LOAD_CPUS)), "R48"


@pytest.mark.parametrize("cpus", [2, 16, MAX_LOAD_CPUS])
def test_tables_fit_and_do_not_overlap(cpus):
    layout = Layout(cpus)
    places = [layout.table_at(cpu, life) for cpu in range(cpus) for life in range(layout.lives)]
    assert layout.lives >= 5
    assert places[0] == cpus * 8
    sizes = {later - sooner for sooner, later in pairwise(places)}
    assert sizes == {(3 + 5 * cpus) * 8}
    assert places[-1] + sizes.pop() <= layout.size


@pytest.mark.parametrize(
    ("handled", "wrong"),
    [
        ("fsfsfs", 0),
        ("sfsfs", 0),
        ("fsffsss", 1),
        ("fsffssfs", 0),
        ("fsfssffs", 1),
        ("fssf", 1),
        ("ffffffsfs", 0),
        ("ff" + 12 * "fs" + "sf", 1),
    ],
    ids=[
        "in order",
        "begun in the middle of a pair",
        "one too many",
        "a first of higher priority before the second of the pair before it",
        "a second overtook its first, later",
        "a second overtook its first",
        "seconds that are missing",
        "a second that is missing does not hide what comes long after",
    ],
)
def test_a_second_without_its_first_is_noticed(handled, wrong):
    pairs = Pairs()
    in_order = [pairs.second() for each in handled if each == "s" or pairs.first()]
    assert in_order.count(False) == wrong


def test_without_a_grant_nobody_writes(machine):
    assert all(sum(life.written) == 0 for life in lives(machine).values())


def test_what_the_cpus_wrote_down_is_what_the_books_have(machine):
    for apic_id in range(CPUS):
        machine.inject(fixed(apic_id, VECTORS.client), 3)
        machine.settle()
    machine.settle()
    noted = lives(machine)
    assert sorted(noted) == list(range(CPUS))
    delivered: Counter[tuple[int, int]] = Counter()
    coalesced: Counter[tuple[int, int]] = Counter()
    for row in machine.bus.ledger:
        assert {o.kind for o in row.outcomes} <= {OutcomeKind.DELIVERED, OutcomeKind.COALESCED}
        at = (row.key.apic_id, row.key.vector)
        delivered[at] += row.outcomes.get(Outcome.DELIVERED, 0)
        coalesced[at] += row.outcomes.get(Outcome.COALESCED, 0)
    for apic_id, life in noted.items():
        assert life.incarnation == machine.cpu(apic_id).kernel.incarnation
        assert life.client == delivered[apic_id, VECTORS.client] == 3
        assert sum(life.written) > 0
        for source in range(CPUS):
            first, second = (apic_id, VECTORS.first(source)), (apic_id, VECTORS.second(source))
            assert life.first[source] == delivered[first]
            assert life.second[source] == delivered[second]
            assert life.group[source] == delivered[apic_id, VECTORS.group(source)]
            assert life.overtaken[source] <= coalesced[first]
            written = noted[source].written[apic_id]
            assert (written + 1) // 2 == delivered[first] + coalesced[first]
            assert written // 2 == delivered[second] + coalesced[second]
