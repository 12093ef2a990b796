"""``mkrpc create FILE``: the instances that device trees describe."""

import json
import re

import pytest
from device_trees import D1, D4_OVERLAY, D4_POOL, dump

from mkrpc.errors import InstanceBusyError, StuckError
from mkrpc.v1 import control_pb2 as pb


@pytest.fixture
def file(tmp_path):
    """Writes a file; gives its path."""

    def write(name: str, data: str | bytes) -> str:
        path = tmp_path / name
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        return str(path)

    return write


ALL = pb.CreateInstanceResponse(instance_id=1, name="web-server", apic_ids=[1])
DATABASE = pb.CreateInstanceResponse(instance_id=2, name="database", apic_ids=[2, 3])


def test_a_device_tree_is_created_whole_by_id(run, peer, file):
    peer.will("CreateInstance", ALL, DATABASE)
    result = run("create", file("all.dts", D1), "--address", peer.address)
    assert result.exit_code == 0
    assert result.stdout == (
        "instance 1 (web-server) has APIC ids 1\ninstance 2 (database) has APIC ids 2-3\n"
    )
    (warning,) = result.stderr.splitlines()
    assert warning.startswith("warning: ")
    assert "a list of 32-bit ids" in warning
    assert peer.requests == [
        pb.CreateInstanceRequest(instance_id=1, name="web-server", apic_ids=[1]),
        pb.CreateInstanceRequest(instance_id=2, name="database", apic_ids=[2, 3]),
    ]


def test_of_several_device_trees_those_without_an_id_come_last(run, peer, file):
    peer.will("CreateInstance", DATABASE)
    overlay = file("o.dts", D4_OVERLAY.replace("id = <3>;", ""))
    web = file("w", dump("web", 5, 3))
    files = (
        file("pool.dts", D4_POOL),
        "-i",
        overlay,
        "--device-tree",
        web,
    )
    with_pool = run("create", "-i", *files, "--address", peer.address)
    assert "are not in the pool" in with_pool.stderr
    assert peer.requests == []
    run("create", "-i", *files[2:], "--json", "--address", peer.address)
    assert [(each.HasField("instance_id"), each.name) for each in peer.requests] == [
        (True, "web"),
        (False, "compute"),
    ]


def test_one_of_them_is_created_by_its_name(run, peer, told, file):
    peer.will("CreateInstance", DATABASE)
    path = file("all.dts", D1)
    words = ("create", "database", "-i", path, "--json", "--address", peer.address)
    made = {"id": 2, "name": "database", "apic_ids": [2, 3]}
    assert json.loads(run(*words).stdout) == {"created": [made]}
    assert [each.name for each in peer.requests] == ["database"]
    result = run("create", "cache", "-i", file("web.dtb", dump("web", 1, 2)))
    assert "mkrpc up" in told(result)[1]
    result = run("create", "cache", "-i", file("web.dtb", dump("web", 1, 2)), *words[-2:])
    assert told(result)[0].startswith("mkrpc: ENOENT: no instance cache in ")
    assert told(result)[1] == "  → it has: web"


def test_where_one_is_refused_none_is_created(run, peer, file):
    said = "EBUSY: the CPU with APIC id 3 belongs to instance 7"
    busy = InstanceBusyError(said, advice="free: 4")
    peer.will("CreateInstance", ALL, busy)
    peer.will("DeleteInstance", pb.DeleteInstanceResponse())
    result = run("create", file("all.dts", D1), "--address", peer.address)
    assert result.exit_code == 3
    assert result.stdout == ""
    assert result.stderr.splitlines()[1:] == [
        f"mkrpc: {said}",
        "  → free: 4; until then none of them is created",
    ]
    assert peer.requests[-1] == pb.DeleteInstanceRequest(instance_id=1)
    peer.will("CreateInstance", ALL, busy)
    peer.will("DeleteInstance", StuckError("ETIMEDOUT: no answer"))
    result = run("create", file("all.dts", D1), "--address", peer.address)
    assert "instance 1 (web-server) stays: ETIMEDOUT: no answer" in result.stderr


@pytest.mark.parametrize(
    ("data", "options", "said"),
    [
        (D4_POOL, (), "EINVAL: .* describes no instance"),
        ("[[instances]]", (), "EINVAL: .*: not a device tree"),
        (D1.replace("id = <1>", "id = <0>"), (), "line 6: .*id: 0 is the host's"),
        (D1, ("--cpu-count", "2"), "a device tree has ids and CPUs"),
        (D1, ("--id", "2"), "a device tree has ids and CPUs"),
        (None, (), "cannot be read: No such file"),
    ],
)
def test_what_is_no_instance_creates_none(run, peer, told, file, *, data, options, said):
    path = "absent.dts" if data is None else file("f.dts", data)
    result = run("create", path, *options, "--address", peer.address)
    assert re.search(said, told(result)[0])
    assert result.exit_code == 2
    assert peer.requests == []
