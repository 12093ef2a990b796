"""One dialect is written, as text, as a blob and as TOML: read again it is the same machine."""

import tomllib

from device_trees import D1
from hypothesis import given
from hypothesis import strategies as st

from mkrpc.devicetree.blob import write_blob
from mkrpc.devicetree.description import CpuList, Description, Instance, Memory
from mkrpc.devicetree.finding import Place, Severity
from mkrpc.devicetree.loading import describe, machine_of
from mkrpc.devicetree.writing import as_overlay, as_source, as_toml, described
from mkrpc.limits import MAX_X2APIC_ID
from mkrpc.topology import Topology

PLACE = Place("made")
NAMES = st.one_of(
    st.from_regex(r"[a-z]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True),
    st.from_regex(r'[A-Za-z0-9 ,._"\\+-]{1,20}', fullmatch=True),
)


@st.composite
def descriptions(draw: st.DrawFn) -> Description:
    """Instances with CPUs of their own, some without an id, some with memory; a host, perhaps."""
    made = Description()
    ids = draw(st.lists(st.integers(0, MAX_X2APIC_ID), unique=True, min_size=2, max_size=24))
    names = draw(st.lists(NAMES, unique=True, max_size=min(6, len(ids) - 1)))
    numbers = draw(st.permutations(range(1, 512)))
    cuts = sorted(draw(st.permutations(range(1, len(ids))))[: len(names)])
    owned = [ids[start:end] for start, end in zip([0, *cuts], [*cuts, None], strict=True)]
    if draw(st.booleans()):
        made.host, made.host_label = CpuList(PLACE, tuple(owned[0])), "the-host"
    for name, cpus, number in zip(names, owned[1:], numbers, strict=False):
        instance = Instance(name, PLACE, CpuList(PLACE, tuple(cpus)))
        instance.id = number if draw(st.booleans()) else None
        if draw(st.booleans()):
            instance.memory = [Memory(PLACE, 4096 * draw(st.integers(1, 1 << 40)))]
        made.instances[name] = instance
    if draw(st.booleans()):
        free = draw(st.lists(st.sampled_from(range(600, 700)), unique=True, min_size=1))
        made.free = CpuList(PLACE, tuple(free))
    return made


@given(descriptions())
def test_what_is_written_is_read_as_the_same_machine(made):
    root = as_overlay(made)
    text, blob = as_source(root).encode(), write_blob(root)
    readings = [describe([("f", data)]) for data in (text, blob)]
    clash = any("are both" in found.what for found in readings[0].findings)
    assert [f.what for f in readings[0].findings] == [f.what for f in readings[1].findings]
    for again in readings:
        assert again.dialects == {"f": "D4"}
        errors = [f for f in again.findings if f.severity is Severity.ERROR]
        assert all("are both" in found.what for found in errors)
        if clash:
            continue
        machine = machine_of(made)
        assert machine_of(again) == machine
        sizes = {i.name: [m.size for m in i.memory] for i in again.instances.values()}
        assert sizes == {i.name: [m.size for m in i.memory] for i in made.instances.values()}
        topology = Topology.from_dict(machine)
        assert Topology.from_dict(tomllib.loads(as_toml(again))) == topology


@given(descriptions())
def test_a_topology_goes_through_a_device_tree(made):
    if any(found.severity is Severity.ERROR for found in describe_again(made).findings):
        return
    topology = Topology.from_dict(machine_of(made))
    tree = as_overlay(described(topology.to_dict()))
    assert Topology.from_dict(machine_of(describe([("f", write_blob(tree))]))) == topology


def describe_again(made: Description) -> Description:
    return describe([("f", write_blob(as_overlay(made)))])


def test_what_is_written_has_no_trap_in_it():
    """The form that usage.rst has is read with a warning; what is written from it without."""
    first = describe([("f", D1.encode())])
    assert len(first.findings) == 1
    text = as_source(as_overlay(first))
    assert "cpus = <0x0 0x2 0x0 0x3>;" in text
    assert text.startswith("/dts-v1/;\n/plugin/;\n")
    assert describe([("f", text.encode())]).findings == []
