"""The host's files: /sys/fs/multikernel, /proc/multikernel and /proc/kimage, byte for byte."""

from typing import Any

import pytest

from mkrpc.devicetree.loading import describe
from mkrpc.errors import NotFoundError
from mkrpc.interconnect.hosts import HostRegistry
from mkrpc.interconnect.kernfs import Entry, proc_kimage, proc_multikernel, read_kernfs
from mkrpc.lifecycle import InstanceState
from mkrpc.v1 import types_pb2 as types

from .host_by_hand import Host, Timer, hosted

STATES = dict(enumerate(InstanceState))
"""Of instances 0 to 4."""


def processes_of(*instances: Any) -> list[Any]:
    registry = HostRegistry(epoch=7, limit_silence=lambda _connection: Timer())
    Host(registry).hello(*instances)
    return list(registry.processes.values())


def image(**fields: Any) -> types.Image:
    return types.Image(**fields)


LOADED = (
    hosted(12, name="database", image=image(cmdline="maxcpus=2 quiet", handlers=["a:b"])),
    hosted(0, name="host", image=image(cmdline="of the host")),
    hosted(3, name="web", image=image(callables=2, programs=[types.ImageProgram(cpu=1)])),
    hosted(4, name="bare"),
)


def test_the_table_of_the_first_series():
    assert proc_multikernel(processes_of(*LOADED)) == (
        "Type        Start Address   Segments\n"
        "----------  --------------  --------\n"
        "multikernel  0x000000008000         4\n"
        "multikernel  0x000000008000         2\n"
    )


def test_the_table_of_the_second_series_has_ids_and_command_lines_and_no_blank_at_its_end():
    assert proc_kimage(processes_of(*LOADED)) == (
        "MK_ID  Type         Start Address   Segments  Mode  Cmdline\n"
        "3      multikernel  0x000000008000         4  smp\n"
        "12     multikernel  0x000000008000         2  smp   maxcpus=2 quiet\n"
    )


@pytest.mark.parametrize("instances", [(), (hosted(0, image=image()), hosted(4))])
def test_where_nothing_is_loaded_both_say_so(instances):
    for table in (proc_multikernel, proc_kimage):
        assert table(processes_of(*instances)).splitlines()[-1] == "No kimages loaded"


def test_every_folder_lists_what_can_be_read_and_every_file_can():
    processes = processes_of(hosted(0, name="host"), hosted(2, name="web"), hosted(1, name="db"))
    read: dict[str, str | None] = {}

    def walk(path: str) -> None:
        entry = read_kernfs(path, processes, STATES, {5, 3})
        if entry.text is not None:
            assert entry.entries == ()
            read[path] = entry.text
        for name in entry.entries:
            walk(f"{path}/{name.rstrip('/')}".lstrip("/"))

    walk("")
    assert list(read) == [
        "device_tree",
        *(f"instances/db/{file}" for file in ("id", "status", "device_tree")),
        *(f"instances/web/{file}" for file in ("id", "status", "device_tree")),
    ]
    assert (read["instances/web/id"], read["instances/db/id"]) == ("2\n", "1\n")
    assert (read["instances/web/status"], read["instances/db/status"]) == ("loaded\n", "ready\n")


@pytest.mark.parametrize(("number", "state"), STATES.items())
def test_the_status_is_the_state(number, state):
    processes = processes_of(hosted(number + 1, name="web"))
    found = read_kernfs("instances/web/status", processes, {number + 1: state}, ())
    assert found == Entry(text=f"{state}\n")


def test_device_trees_read_back_as_what_they_describe():
    processes = processes_of(hosted(2, name="web", apic_ids=[7, 4]))
    web = read_kernfs("instances/web/device_tree", processes, STATES, {5, 3}).text
    pool = read_kernfs("device_tree", processes, STATES, {5, 3}).text
    assert pool == (
        '/dts-v1/;\n\n/ {\n\tcompatible = "multikernel-v1";\n\tresources {\n'
        "\t\tcpus = <0x0 0x3 0x0 0x5>;\n\t};\n};\n"
    )
    assert web is not None
    found = describe([("web", web.encode())])
    assert [(each.name, each.id, each.cpus.ids) for each in found.instances.values()] == [
        ("web", 2, (7, 4))
    ]
    assert found.findings == []
    assert describe([("pool", pool.encode()), ("web", web.encode())]).pool is not None


def test_an_instance_without_cpus_and_an_empty_pool_have_none():
    processes = processes_of(hosted(2, name="web", apic_ids=[8]))
    processes[0].apic_ids = ()
    assert "cpus" not in (read_kernfs("device_tree", processes, STATES, ()).text or "cpus")
    web = read_kernfs("instances/web/device_tree", processes, STATES, ()).text
    assert web == (
        '/dts-v1/;\n\n/ {\n\tcompatible = "multikernel-v1";\n\tmodel = "web";\n\tid = <0x2>;\n};\n'
    )


@pytest.mark.parametrize(
    "path",
    [
        *("instances/host", "instances/host/id", "instances/nobody", "instances/web/cpus"),
        *("instances/web/id/x", "nothing", "instances//id", "device_tree/x", "../etc/passwd"),
        "overlays",
    ],
)
def test_what_is_not_there_is_enoent(path):
    processes = processes_of(hosted(0, name="host"), hosted(2, name="web"))
    with pytest.raises(NotFoundError, match="ENOENT") as caught:
        read_kernfs(path, processes, STATES, ())
    assert repr(path) in str(caught.value)
    assert "mkrpc show --kernfs" in caught.value.advice


@pytest.mark.parametrize("path", ["/", "/instances/", "instances/web/", "/device_tree"])
def test_slashes_at_the_ends_change_nothing(path):
    processes = processes_of(hosted(2, name="web"))
    assert read_kernfs(path, processes, STATES, ()) == read_kernfs(
        path.strip("/"), processes, STATES, ()
    )
