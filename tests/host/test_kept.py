"""What a host agent keeps of its instances: CPUs, the pool, images, and what it refuses."""

import pytest

from mkrpc.errors import InvalidArgumentError, NotFoundError
from mkrpc.host.kept import KeptInstances
from mkrpc.topology import Topology
from mkrpc.v1 import types_pb2 as types


@pytest.fixture
def kept() -> KeptInstances:
    """Instances 0 and 1 of one CPU each; 2 to 5 are free."""
    return KeptInstances(Topology.of(instances=2, cpus=1, pool=4), {1: 2})


def test_every_cpu_has_one_owner_or_is_the_pools(kept):
    def everybody() -> list[int]:
        owned = [apic_id for spec in kept.specs.values() for apic_id in spec.cpus]
        return sorted([*owned, *kept.pool])

    kept.keep(2, "web", (4, 3))
    assert (kept.specs[2].cpus, kept.pool, everybody()) == ((4, 3), {2, 5}, list(range(6)))
    kept.keep(2, "web", (3, 2))
    assert (kept.specs[2].cpus, kept.pool, everybody()) == ((3, 2), {4, 5}, list(range(6)))
    kept.keep(2, "web", ())
    assert (kept.specs[2].cpus, kept.pool, everybody()) == ((), {2, 3, 4, 5}, list(range(6)))
    kept.drop(1)
    assert (kept.pool, kept.deleted, everybody()) == ({1, 2, 3, 4, 5}, {1}, list(range(6)))
    kept.keep(1, "db", (1,))
    assert (kept.name(1), kept.deleted, everybody()) == ("db", set(), list(range(6)))


def test_it_boots_on_the_cpu_that_is_named_and_knows_who_else_has_cpus(kept):
    kept.keep(2, "web", (4, 3, 5))
    kept.keep(3, "bare", ())
    machine = kept.machine(2, 5)
    assert machine.instance(2).cpus == (5, 4, 3)
    assert [spec.id for spec in machine.instances] == [0, 1, 2]
    assert kept.machine(2, None).instance(2).cpus == (4, 3, 5)
    assert kept.machine(2, 4).instance(2).cpus == (4, 3, 5)


def test_what_is_loaded_is_what_runs_until_it_is_unloaded(kept):
    assert kept.runs_callables(1)
    programs = [types.ImageProgram(cpu=0, entry="a:b")]
    image = types.Image(cmdline="quiet", handlers=["c:d"], programs=programs)
    kept.load(1, image)
    spec = kept.machine(1, None).instance(1)
    assert (spec.cmdline, spec.handlers) == ("quiet", ("c:d",))
    assert [(program.cpu, program.entry) for program in spec.programs] == [(0, "a:b")]
    assert not kept.runs_callables(1)
    kept.unload(1)
    assert 1 not in kept.images
    assert kept.first_images[1].callables == 2


@pytest.mark.parametrize(
    ("mode", "above", "said"),
    [
        ("xapic", 255, "EINVAL: APIC id 255 is above 254, the highest in this machine's mode"),
        ("x2apic", 1 << 32, "EINVAL: APIC id 4294967296 is above 4294967294"),
    ],
)
def test_an_apic_id_beyond_the_machines_mode(mode, above, said):
    kept = KeptInstances(Topology.of(instances=1, cpus=1, mode=mode))
    with pytest.raises(InvalidArgumentError) as caught:
        kept.keep(1, "web", (above,))
    assert str(caught.value).startswith(said)
    assert 1 not in kept.specs


def test_a_program_that_cannot_be_is_refused_by_name_and_changes_nothing(kept):
    """Whatever an interconnect lets through: an error of another kind would end the cluster."""
    before = dict(kept.images)
    given = types.Image(programs=[types.ImageProgram(cpu=0, entry="a:b²")])
    with pytest.raises(InvalidArgumentError, match="EINVAL: no process can run"):
        kept.load(1, given)
    assert kept.images == before


def test_whom_it_has_not(kept):
    for ask in (kept.name, kept.drop, lambda number: kept.load(number, types.Image())):
        with pytest.raises(NotFoundError, match="ENOENT: this host agent has no instance 9"):
            ask(9)
    kept.unload(9)
