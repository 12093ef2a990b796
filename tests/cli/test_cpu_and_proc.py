"""``mkrpc cpu``, ``interrupts`` and ``dmesg``: what a person reads of one kernel."""

import json

import pytest

from mkrpc.cli.proc import parse_interrupts
from mkrpc.errors import DeadlineExceededError, NotFoundError
from mkrpc.v1 import control_pb2 as pb
from mkrpc.v1 import types_pb2


def test_cpu_sets_first_and_shows_the_registers(run, peer, account):
    view = types_pb2.CpuView(
        account=account,
        apic_id=2,
        mode=types_pb2.APIC_MODE_X2APIC,
        registers={"tpr": 0x10, "svr": 0x1FF},
    )
    peer.will("SetCpu", pb.SetCpuResponse(cpu=view))
    peer.will("GetCpu", pb.GetCpuResponse(cpu=view, instance_id=1))
    result = run("cpu", "2", "--address", peer.address, "--if", "off", "--wake", "--tpr", "0x10")
    assert result.exit_code == 0
    change, _ = peer.requests
    assert (change.interrupts_enabled, change.halt, change.tpr) == (False, False, 0x10)
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["tpr", "0x00000010"] in lines
    assert ["irr", "0x31", "0xea"] in lines
    shown = json.loads(run("cpu", "2", "--address", peer.address, "--json").stdout)
    assert shown["registers"] == {"svr": 0x1FF, "tpr": 0x10}
    assert (shown["instance_id"], shown["irr"]) == (1, [0x31, 0xEA])
    assert type(peer.requests[-1]) is pb.GetCpuRequest


def test_a_register_is_as_wide_as_it_is(run, peer, account):
    view = types_pb2.CpuView(
        account=account,
        apic_id=2,
        mode=types_pb2.APIC_MODE_X2APIC,
        registers={"ICR": 0xEA, "IA32_APIC_BASE": 0xFEE00C00, "DIAG_ESR_PENDING": 0x20, "ID": 2},
    )
    peer.will("GetCpu", pb.GetCpuResponse(cpu=view, instance_id=1))
    lines = run("cpu", "2", "--address", peer.address).stdout.splitlines()
    assert [line.split() for line in lines[2:6]] == [
        ["DIAG_ESR_PENDING", "0x00000020"],
        ["IA32_APIC_BASE", "0x00000000fee00c00"],
        ["ICR", "0x00000000000000ea"],
        ["ID", "0x00000002"],
    ]


PROC = (
    "           CPU0       CPU1       \n"
    "NMI:          1          0   Non-maskable interrupts\n"
    "CAL:         12          3   Function call interrupts\n"
    "ERR:          4\n"
)


def test_interrupts_of_every_active_instance_as_the_kernel_prints_them(run, peer, two_instances):
    peer.will("GetCluster", two_instances)
    peer.will("GetProc", pb.GetProcResponse(text=PROC))
    result = run("interrupts", "--address", peer.address)
    assert result.stdout == "instance 1 (web)\n" + PROC
    shown = json.loads(run("interrupts", "web", "--address", peer.address, "--json").stdout)
    assert shown["instances"][0]["rows"] == {"NMI": [1, 0], "CAL": [12, 3], "ERR": [4]}
    assert shown["instances"][0]["text"] == PROC


@pytest.fixture
def three_active(two_instances) -> pb.GetClusterResponse:
    """Instances 1, web; 2, db; 3, cache; all active."""
    machine = pb.GetClusterResponse()
    machine.CopyFrom(two_instances)
    machine.instances[1].state = pb.INSTANCE_STATE_ACTIVE
    machine.instances.add(id=3, name="cache", state=pb.INSTANCE_STATE_ACTIVE)
    return machine


def test_a_blank_line_stands_between_instances(run, peer, three_active):
    peer.will("GetCluster", three_active)
    peer.will("GetProc", pb.GetProcResponse(text=PROC))
    result = run("interrupts", "--address", peer.address)
    assert result.exit_code == 0
    assert result.stdout == "\n".join(
        f"instance {head}\n{PROC}" for head in ("1 (web)", "2 (db)", "3 (cache)")
    )


@pytest.mark.parametrize("named", [(), ("web", "2", "3")], ids=["all", "named"])
def test_an_instance_that_is_silent_does_not_keep_the_others(run, peer, three_active, told, named):
    whole = pb.GetProcResponse(text=PROC)
    peer.will("GetCluster", three_active)
    peer.will("GetProc", whole, DeadlineExceededError("no answer"), whole)
    result = run("interrupts", *named, "--address", peer.address)
    assert result.exit_code == 3
    assert result.stdout == f"instance 1 (web)\n{PROC}\ninstance 3 (cache)\n{PROC}"
    what, advice = told(result)
    assert what.startswith("mkrpc: instance 2 (db): ")
    assert "mkrpc kill --force" in advice
    peer.will("GetProc", whole, DeadlineExceededError("no answer"), whole)
    result = run("interrupts", *named, "--address", peer.address, "--json")
    assert result.exit_code == 3
    shown = json.loads(result.stdout)
    assert [instance["name"] for instance in shown["instances"]] == ["web", "cache"]
    assert [failure["instance"] for failure in shown["failed"]] == [2]


def test_an_instance_that_is_not_there_does_not_keep_the_others(run, peer, two_instances, told):
    peer.will("GetCluster", two_instances)
    peer.will("GetProc", pb.GetProcResponse(text=PROC))
    result = run("interrupts", "wbe", "web", "--address", peer.address)
    assert result.exit_code == 3
    assert result.stdout == "instance 1 (web)\n" + PROC
    what, advice = told(result)
    assert what == f"mkrpc: ENOENT: no instance wbe at {peer.address}"
    assert "1 (web)" in advice


def test_an_error_that_names_the_instance_is_not_told_twice(run, peer, two_instances, told):
    gone = NotFoundError("instance 2 (db) is not attached: killed", advice="mkrpc exec db")
    peer.will("GetCluster", two_instances)
    peer.will("GetProc", gone)
    result = run("interrupts", "db", "--address", peer.address)
    assert result.exit_code == 3
    assert told(result)[0] == "mkrpc: instance 2 (db) is not attached: killed"


def test_the_total_of_all_interrupts_as_proc_stat_has_it(run, peer, two_instances):
    peer.will("GetCluster", two_instances)
    peer.will("GetProc", pb.GetProcResponse(text="intr 20 0 0\n"))
    result = run("interrupts", "--stat", "--address", peer.address)
    assert result.stdout == "instance 1 (web)\nintr 20 0 0\n"
    assert peer.requests[-1].path == "stat"
    shown = json.loads(run("interrupts", "--stat", "--address", peer.address, "--json").stdout)
    assert shown["instances"] == [{"id": 1, "name": "web", "total": 20, "text": "intr 20 0 0\n"}]


def test_the_mirror_has_irq_stat_by_linux_names(run, peer, two_instances):
    peer.will("GetCluster", two_instances)
    shown = json.loads(run("interrupts", "--mirror", "--address", peer.address, "--json").stdout)
    assert shown["instances"][0]["rows"]["irq_call_count"] == [5]


@pytest.mark.parametrize("text", ["", "\n", "nothing here\nlike a table\n"])
def test_what_is_no_proc_interrupts_has_no_rows(text):
    assert parse_interrupts(text) == {}


def test_dmesg_prints_as_dmesg_does(run, peer, two_instances):
    record = types_pb2.LogRecord(number=9, level=6, time_us=1374792, text="Multikernel interrupt")
    pages = (pb.GetLogResponse(records=[record], dropped=8), pb.GetLogResponse(dropped=8))
    peer.will("GetCluster", two_instances)
    for options, line in (
        ((), "[    1.374792] Multikernel interrupt"),
        (("--raw",), "<6>[    1.374792] Multikernel interrupt"),
    ):
        peer.will("GetLog", *pages)
        result = run("dmesg", "web", "--address", peer.address, *options)
        assert result.stdout.splitlines() == [line]
        assert "overwritten 8" in result.stderr
