"""Malformed device trees give an error that says where, and never anything else.

Text and blobs of every dialect, with bytes changed, cut, doubled and swapped for what means
something, and with properties of another value. The quick tier tries 4,000, the full one 100,000.
"""

import random
import time
from contextlib import suppress

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
    u32,
    u64,
)

from mkrpc.devicetree.blob import write_blob
from mkrpc.devicetree.finding import DeviceTreeError, Severity
from mkrpc.devicetree.loading import describe, is_device_tree, machine_of, parse
from mkrpc.devicetree.node import MAX_DEPTH, MAX_DEVICE_TREE_BYTES, Property
from mkrpc.devicetree.writing import as_overlay, as_source, as_toml
from mkrpc.errors import TopologyError
from mkrpc.topology import Topology

QUICK, FULL = 4_000, 100_000
SECONDS_FOR_THE_LARGEST = 20

TEXTS = [text.encode() for text in (D1, D2, D4_BASELINE, D4_POOL, D4_INSTANCE, D4_OVERLAY)]
BLOBS = [
    dump("web", 1, 2, 3),
    dump("", 1, 2, 3, root="web"),
    kerf_overlay(cpus=u64(2, 3)),
    kerf_overlay(cpus=u32(2, 3)),
    kerf_pool(cpus=u64(2, 3)),
]
WORDS = [
    *(b"{", b"}", b"};", b"<", b">", b"=", b";", b",", b'"', b"/*", b"//", b"/", b"&", b"(", b"["),
    *(b"\0", b"\xff", b"\n", b"/bits/ 64", b"/bits/ 8", b"/plugin/;", b"cpus", b"reg", b"id"),
    *(b"<0 1>", b"<2 3>", b"<>", b"<0xffffffffffffffff>", b"<0xffffffff 0xffffffff>", b'"', b"[0]"),
    *(b"fragment@0 {", b"__overlay__ {", b"instance-create {", b"cpu-add {", b"resources {"),
    *(
        b'model = "all";',
        b"mkrpc,host-cpus = <0x0 0x2>;",
        b"memory@0 {",
        b"instances {",
        b"a" * 300,
    ),
    *(u32(number) for number in (0, 1, 2, 3, 4, 9, 8, 512, 2**31, 2**32 - 1)),
]


VALUES = [
    *(
        b"",
        b"\0",
        b"\0\0",
        b"all\0",
        b"a\0b\0",
        b"\xff\0",
        b"web",
        b"/instances\0",
        b"/resources\0",
    ),
    *(u32(*cells) for cells in ((0,), (1,), (9,), (0, 1), (2, 3), (1, 2, 3), (0, 0, 0, 0), (512,))),
    *(u64(*ids) for ids in ((2, 2), (8, 9), (2**32 - 1,), (2**64 - 1,), (0,), (4096,), (2**63,))),
]


def revalued(chance: random.Random) -> bytes:
    """One of the trees, well-formed, with up to five properties that say something else."""
    tree = parse("f", chance.choice(chance.choice((TEXTS, BLOBS))))
    nodes = [tree.root]
    for node in nodes:
        nodes.extend(node.children.values())
    for _ in range(chance.randint(1, 5)):
        node = chance.choice(nodes)
        name = chance.choice([*node.properties, "cpus", "id", "reg", "memory-bytes", "model"])
        node.properties[name] = Property(name, chance.choice(VALUES))
    return write_blob(tree.root)


def malformed(chance: random.Random) -> bytes:
    """One of the trees, in which up to five things are changed."""
    if chance.randrange(4) == 0:
        return revalued(chance)
    data = bytearray(chance.choice(chance.choice((TEXTS, BLOBS))))
    for _ in range(chance.randint(1, 5)):
        at = chance.randrange(len(data) + 1)
        end = min(len(data), at + chance.choice((0, 1, 4, 4, chance.randrange(64))))
        match chance.randrange(6):
            case 0:
                data[at:end] = b""
            case 1:
                data[at:end] = chance.choice(WORDS)
            case 2:
                data[at:at] = data[at:end]
            case 3:
                data[at:end] = chance.randbytes(end - at)
            case 4 if at < len(data):
                data[at] ^= 1 << chance.randrange(8)
            case _:
                other = chance.choice(chance.choice((TEXTS, BLOBS)))
                start = chance.randrange(len(other))
                data[at:end] = other[start : start + chance.randrange(64)]
    return bytes(data)


def try_it(*datas: bytes) -> bool:
    """Whether it is a machine. Anything but an error of ours goes through to the test."""
    files = [(f"f{number}", data) for number, data in enumerate(datas)]
    description = describe(files)
    for found in description.findings:
        assert found.what
        assert found.suggestion
        assert found.place.file in dict(files)
        assert "\n" not in str(found)
    if any(found.severity is Severity.ERROR for found in description.findings):
        with pytest.raises(DeviceTreeError) as caught:
            machine_of(description)
        assert str(caught.value)
        assert caught.value.advice
        return False
    machine = machine_of(description)
    topology = Topology.from_dict(machine)
    root = as_overlay(description)
    assert machine_of(describe([("again", as_source(root).encode())])) == machine
    assert as_toml(description)
    assert topology.instances[0].id == 0
    return True


def fuzz(seeds: range) -> None:
    machines = 0
    for seed in seeds:
        chance = random.Random(seed)
        datas = [malformed(chance) for _ in range(chance.choice((1, 1, 1, 2)))]
        try:
            machines += try_it(*datas)
        except Exception as problem:
            problem.add_note(f"seed {seed}: {datas!r}")
            raise
    # So that it is known to reach both: what can be read, and what cannot.
    assert len(seeds) / 100 < machines < len(seeds) * 99 / 100


def test_malformed_device_trees_give_an_error():
    fuzz(range(QUICK))


@pytest.mark.full
@pytest.mark.timeout(1800)
def test_many_malformed_device_trees_give_an_error():
    fuzz(range(QUICK, QUICK + FULL))


def test_so_does_a_file_through_the_door_of_topologies(tmp_path):
    chance = random.Random(1)
    path = tmp_path / "f"
    for _ in range(200):
        path.write_bytes(malformed(chance))
        with suppress(TopologyError):
            assert Topology.load(path).instances


HUGE = {
    "comments": b"/dts-v1/;" + b"/**/" * (MAX_DEVICE_TREE_BYTES // 4 - 9),
    "open comments": b"/dts-v1/; / { " + b"/*" * (MAX_DEVICE_TREE_BYTES // 2 - 9),
    "open braces": b"/dts-v1/; /" + b"{a" * (MAX_DEVICE_TREE_BYTES // 2 - 9),
    "cells": b"/dts-v1/; / { compatible = <" + b"1 " * (MAX_DEVICE_TREE_BYTES // 2 - 99) + b">; };",
    "bytes": b"/dts-v1/; / { compatible = [" + b"1 " * (MAX_DEVICE_TREE_BYTES // 2 - 99) + b"]; };",
    "quotes": b"/dts-v1/; / { p = " + b'"' * (MAX_DEVICE_TREE_BYTES - 99),
    "nodes": b'/dts-v1/; / { compatible = "multikernel-v1"; instances {'
    + b"".join(b"%x{};" % number for number in range(90_000))
    + b"}; };",
    "one list of CPUs": b'/dts-v1/; / { compatible = "multikernel-v1"; model = "a"; '
    b"resources { cpus = <" + b"1 " * 500_000 + b">; }; };",
    "instances with memory": b'/dts-v1/; / { compatible = "multikernel-v1"; instances {'
    + b"".join(
        b"%x{resources{cpus=<%d>;memory-base=<0>;memory-bytes=<4096>;};};" % (number, number)
        for number in range(14_000)
    )
    + b"}; };",
    "CPUs that come one by one": D4_OVERLAY.encode().replace(
        b"cpu@9 {", b"".join(b"cpu@%x{reg=<7>;};" % n for n in range(16, 44_000)) + b"cpu@9 {"
    ),
    "a pool and many beside it": b'/dts-v1/; / { compatible = "multikernel-v1"; '
    b"resources { cpus = <"
    + b"0 1 " * 100_000
    + b">; }; instances {"
    + b"".join(b"i%x{resources{cpus=<9>;};};" % n for n in range(20_000))
    + b"}; };",
    "names without an end": dump("web", 1, 2)[:56] + u32(1) + b"a" * 1_000_000,
}


@pytest.mark.parametrize("data", HUGE.values(), ids=HUGE)
def test_the_largest_take_seconds_at_most(data):
    assert len(data) <= MAX_DEVICE_TREE_BYTES
    assert is_device_tree(data)
    start = time.process_time()
    assert not try_it(data)
    assert time.process_time() - start < SECONDS_FOR_THE_LARGEST


def test_deep_trees_are_read_without_recursion_beyond_the_limit():
    with pytest.raises(DeviceTreeError, match=f"more than {MAX_DEPTH}"):
        machine_of(describe([("f", b"/dts-v1/; / " + b"{a" * 100_000)]))
