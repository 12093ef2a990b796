"""The two traps: lists of 32-bit ids that are read as 64-bit ids, and logical CPU numbers."""

import pytest
from device_trees import D1, D2, D4_BASELINE, dump, kerf_overlay, kerf_pool, u32, u64

from mkrpc.devicetree.cpuinfo import parse_cpuinfo
from mkrpc.devicetree.description import Description
from mkrpc.devicetree.finding import Severity
from mkrpc.devicetree.loading import describe
from mkrpc.errors import InvalidArgumentError

D4 = '/dts-v1/;\n/ { compatible = "multikernel-v1"; model = "web";\n resources { cpus = %s; }; };'


def read(data: str | bytes, **more) -> Description:
    return describe([("f", data.encode() if isinstance(data, str) else data)], **more)


def cpus(description: Description) -> tuple[int, ...]:
    return next(iter(description.instances.values())).cpus.ids


LISTS = {
    "two of 64 bits": ("<0x0 0x2 0x0 0x3>", (2, 3), None),
    "one of 64 bits": ("<0x0 0x2>", (2,), None),
    "/bits/ 64": ("/bits/ 64 <2 3>", (2, 3), None),
    "one of 32 bits": ("<8>", (8,), None),
    "three of 32 bits": ("<4 5 6>", (4, 5, 6), None),
    "two of 32 bits": ("<2 3>", (2, 3), "here 0x200000003"),
    "four of 32 bits": ("<2 3 4 5>", (2, 3, 4, 5), "here 0x200000003, 0x400000005"),
    "eight of 32 bits": ("<2 3 4 5 6 7 8 9>", (2, 3, 4, 5, 6, 7, 8, 9), "0x600000007, …"),
    "0 and 1, or 1": ("<0 1>", (1,), "one 64-bit id or two of 32 bits? Taken for CPU 1 alone"),
}


@pytest.mark.parametrize(("value", "ids", "warning"), LISTS.values(), ids=LISTS)
def test_a_list_of_32_bit_ids_is_told_from_one_of_64_bit_ids(value, ids, warning):
    """kerf's unpack_cpu_ids and the kernel take 8n bytes for 64-bit ids."""
    description = read(D4 % value)
    assert cpus(description) == ids
    assert (warning is None) == (not description.findings)
    if warning is not None:
        (found,) = description.findings
        assert found.severity is Severity.WARNING
        assert (found.place.line, found.place.path, found.place.key) == (3, "/resources", "cpus")
        assert warning in found.what
        assert found.current == f"cpus = {value}"


def test_what_is_suggested_is_read_the_same_by_everybody():
    (found,) = read(D4 % "<2 3>").findings
    assert found.suggestion == "cpus = <0x0 0x2 0x0 0x3>;"
    again = read((D4 % "<2 3>").replace("cpus = <2 3>;", found.suggestion))
    assert (cpus(again), again.findings) == ((2, 3), [])


def test_the_first_documentation_has_the_trap():
    (found,) = read(D1).findings
    assert "read as CPUs 2, 3; kerf and today's kernels" in found.what
    (found,) = read(D1.replace("<2 3>", "<0 3>")).findings
    assert "Taken for CPUs 0 and 3" in found.what
    assert found.suggestion.startswith("cpus = <0x0 0x3>; for CPU 3, cpus = <0x0 0x0 0x0 0x3>;")


def test_kerf_s_own_text_has_not_since_kerf_reads_number_by_number():
    description = read(D2)
    assert description.pool.ids == (2, 3, 4, 5, 6, 7)
    assert not [found for found in description.findings if "32-bit" in found.what]


def test_a_blob_of_an_earlier_kerf_has_it_and_shows_how_it_should_be():
    description = read(kerf_overlay(cpus=u32(2, 3)))
    (found,) = description.findings
    assert cpus(description) == (2, 3, 12)
    assert found.current == "cpus = <0x2 0x3>"
    assert str(found.place) == "f: /fragment@0/__overlay__/instance-create/resources: cpus"
    assert not read(kerf_overlay(cpus=u32(2, 3, 4))).findings, "12 bytes are nothing else"


@pytest.mark.parametrize("data", [b"", b"\0\0\2", b"12345"])
def test_a_list_of_no_whole_cells_is_an_error(data):
    description = read(kerf_overlay(cpus=data))
    assert any("no list of CPUs" in f.what for f in description.findings) == bool(data)


CPUINFO = "".join(
    f"processor\t: {number}\nphysical id\t: 0\napicid\t\t: {apic_id}\ninitial apicid\t: 9\n\n"
    for number, apic_id in {0: 0, 1: 2, 2: 128, 3: 130}.items()
)


def test_cpuinfo_says_which_cpu_has_which_apic_id():
    assert parse_cpuinfo(CPUINFO, "cpuinfo") == {0: 0, 1: 2, 2: 128, 3: 130}
    with pytest.raises(InvalidArgumentError, match="cpuinfo: no CPU with an apicid"):
        parse_cpuinfo("processor : 0\nBogoMIPS : 50\n", "cpuinfo")


def test_logical_cpu_numbers_are_told_by_the_machine_s_cpuinfo_with_what_is_meant():
    known = parse_cpuinfo(CPUINFO, "cpuinfo")
    (found,) = read(dump("web", 1, 2, 3), apic_ids=known).findings
    assert found.severity is Severity.ERROR
    assert "no APIC id 3, in web (id 1); all are logical CPU numbers of it" in found.what
    assert found.current == "cpus = <0x0 0x2 0x0 0x3>"
    assert found.suggestion.endswith("cpus = <0x0 0x80 0x0 0x82>;")
    (found,) = read(dump("web", 1, 7), apic_ids=known).findings
    assert "APIC ids" in found.suggestion
    assert "CPUs 0, 2, 128, 130" in found.suggestion
    assert read(dump("web", 1, 128, 130), apic_ids=known).findings == []


def test_logical_cpu_numbers_are_told_by_a_pool_whose_ids_are_all_higher():
    pool = kerf_pool(cpus=u64(128, 129, 130))
    (found,) = describe([("p", pool), ("f", dump("web", 1, 0, 1))]).findings
    assert found.severity is Severity.ERROR
    assert "CPUs 0, 1 of web (id 1) are not in the pool" in found.what
    assert "logical CPU numbers, it seems" in found.what
    assert 'CPUs are APIC ids ("apicid" in /proc/cpuinfo)' in found.suggestion
    assert "the pool has CPUs 128, 129, 130" in found.suggestion


def test_a_cpu_beside_the_pool_is_only_that():
    (found,) = describe([("p", D4_BASELINE.encode()), ("f", dump("web", 1, 2, 4))]).findings
    assert "CPU 4 of web (id 1) is not in the pool" in found.what
    assert "logical" not in found.what


def test_logical_cpu_numbers_of_a_pool_are_told_by_its_numa_nodes():
    nodes = "topology { numa-nodes { node@0 { node-id = <0>; cpus = <128 129 130>; }; }; };"
    text = D2.replace("devices {", f"{nodes} devices {{").replace("<2 3 4 5 6 7>", "<0 1 2>")
    errors = [f for f in read(text).findings if f.severity is Severity.ERROR]
    assert [f.place.line for f in errors] == [7]
    assert "CPUs 0, 1, 2 of the pool are not in the tree's NUMA nodes, whose" in errors[0].what
