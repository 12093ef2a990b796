"""Every dialect of multikernel device trees, and what machine each describes.

D1: usage.rst of the kernel series. D2: kerf's text. D3: kerf's blobs. D4: device-tree.rst and
overlays.rst of the series.
"""

import pytest
from device_trees import (
    D1,
    D2,
    D4_BASELINE,
    D4_INSTANCE,
    D4_OVERLAY,
    D4_POOL,
    dump,
    kerf_overlay,
    kerf_pool,
    node,
    u32,
    u64,
)

from mkrpc.devicetree.dialect import DIALECTS
from mkrpc.devicetree.finding import DeviceTreeError
from mkrpc.devicetree.loading import describe, is_device_tree, machine_of
from mkrpc.topology import Topology


def machine(*files: str | bytes) -> dict[str, tuple[int, tuple[int, ...]]]:
    """Id and CPUs by name of what files describe, named a, b, …"""
    given = [
        (name, f.encode() if isinstance(f, str) else f)
        for name, f in zip("abc", files, strict=False)
    ]
    topology = Topology.from_dict(machine_of(describe(given)))
    return {spec.name: (spec.id, spec.cpus) for spec in topology.instances}


KERF_INSTANCES = node(
    "instances", node("web", node("resources", cpus=u64(4, 5), memory_bytes=u64(4096)), id=u32(1))
)

TABLE = {
    "D1 text": ("D1", D1, {"host": (0, (0,)), "web-server": (1, (1,)), "database": (2, (2, 3))}),
    "D2 text, a pool": ("D2", D2, {"host": (0, (0,))}),
    "D3 blob, a pool": ("D3", kerf_pool(cpus=u64(0, 4, 5)), {"host": (0, (1,))}),
    "D3 blob with instances": (
        "D3",
        kerf_pool(cpus=u64(4, 5), instances=KERF_INSTANCES),
        {"host": (0, (0,)), "web": (1, (4, 5))},
    ),
    "D3 overlay": ("D3", kerf_overlay(cpus=u64(8, 9)), {"host": (0, (0,)), "web": (5, (8, 9, 12))}),
    "D4 baseline": ("D4", D4_BASELINE, {"host": (0, (0,))}),
    "D4 pool read back": ("D4", D4_POOL, {"host": (0, (0,))}),
    "D4 instance, with its boot tree": (
        "D4",
        D4_INSTANCE,
        {"host": (0, (32,)), "web": (1, (2, 3))},
    ),
    "D4 instance, dumped": (
        "D4",
        dump("web", 7, 20, 21),
        {"host": (0, (0,)), "web": (7, (20, 21))},
    ),
    "D4 instance named by its root": (
        "D4",
        dump("", 7, 20, 21, root="web"),
        {"host": (0, (0,)), "web": (7, (20, 21))},
    ),
    "D4 overlay": ("D4", D4_OVERLAY, {"host": (0, (0,)), "compute": (3, (8, 9))}),
}


@pytest.mark.parametrize(("dialect", "data", "expected"), TABLE.values(), ids=TABLE)
def test_each_dialect_describes_its_machine(dialect, data, expected):
    data = data.encode() if isinstance(data, str) else data
    assert is_device_tree(data)
    assert describe([("f", data)]).dialects == {"f": dialect}
    assert machine(data) == expected


def test_every_dialect_is_in_the_table():
    assert {row[0] for row in TABLE.values()} == {dialect.name for dialect in DIALECTS}


def test_a_pool_and_the_dumps_of_its_instances_are_one_machine():
    assert machine(D4_POOL, dump("web", 1, 1, 2), dump("db", 2, 3)) == {
        "host": (0, (0,)),
        "web": (1, (1, 2)),
        "db": (2, (3,)),
    }


@pytest.mark.parametrize(
    ("files", "free"),
    [
        ([D4_POOL], [1, 2, 3]),
        ([D4_POOL, dump("web", 1, 1, 2)], [3]),
        ([D4_POOL, dump("web", 1, 1, 2), dump("db", 2, 3)], []),
        ([D2], [2, 3, 4, 5, 6, 7]),
        ([kerf_pool(cpus=u64(0, 4, 5))], [0, 4, 5]),
        ([D1], []),
        (
            [D4_POOL.replace("id = <0>;", "chosen { multikernel,host-ipi-cpu = <0x0 0x2>; };")],
            [1, 3],
        ),
    ],
)
def test_what_no_instance_has_of_the_pool_is_the_machine_s_pool(files, free):
    given = [(f"f{n}", f.encode() if isinstance(f, str) else f) for n, f in enumerate(files)]
    assert machine_of(describe(given)).get("pool", []) == free


def test_a_root_with_a_name_is_an_instance():
    """usage.rst: what ``device_tree_source`` of an instance prints."""
    text = (
        '/dts-v1/;\n/web { compatible = "multikernel-v1"; id = <1>; resources { cpus = <1>; }; };'
    )
    assert machine(text)["web"] == (1, (1,))


def test_an_id_that_nobody_gives_is_the_lowest_free():
    without = D4_OVERLAY.replace("id = <3>;", "")
    assert machine(dump("web", 1, 2), without)["compute"] == (2, (8, 9))


def test_the_host_is_called_otherwise_where_an_instance_is_called_host():
    assert machine(dump("host", 1, 2)) == {"mk0": (0, (0,)), "host": (1, (2,))}


def test_what_mkrpc_has_no_use_for_is_named():
    assert describe([("f", D1.encode())]).left_out == {"llc-way-mask", "memory-bytes"}
    assert describe([("f", D2.encode())]).left_out == {"devices", "memory-base", "memory-bytes"}


@pytest.mark.parametrize(
    ("text", "says", "advice"),
    [
        ("/dts-v1/;\n/ { };", "a: line 2: /: compatible: missing", 'compatible = "multikernel-v1"'),
        (
            '/dts-v1/;\n/ { compatible = "arm,vexpress"; };',
            'a: line 2: /: compatible: not a multikernel device tree (now: compatible = "arm,v',
            'compatible is "multikernel-v1" or "linux,multikernel-host"',
        ),
    ],
)
def test_another_device_tree_is_none_of_them(text, says, advice):
    with pytest.raises(DeviceTreeError) as caught:
        machine(text)
    assert str(caught.value).startswith(says)
    assert advice in caught.value.advice


@pytest.mark.parametrize(
    "text", ["[[instances]]\nid = 0\n", "", "# a comment\n", 'name = "/dts-v1/;"']
)
def test_toml_is_no_device_tree(text):
    assert not is_device_tree(text.encode())
