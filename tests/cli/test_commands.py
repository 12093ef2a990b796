"""What a person types and a script relies on: arguments, exit codes, JSON keys, errors.

Issue 2, "The command line" and "What it must show" 6. Whole clusters are tested end to end
elsewhere; here the other side of the wire is scripted.
"""

import json
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from mkrpc.cli import main
from mkrpc.cli.ipi import MAX_LINES, DestinationType
from mkrpc.cli.live import Lines
from mkrpc.cli.output import apic_ids_text
from mkrpc.cli.proc import parse_interrupts
from mkrpc.client import apic, icr, instance, logical, shorthand
from mkrpc.client.answers import ClusterView
from mkrpc.client.books import Ledger, LedgerTotals
from mkrpc.errors import ClusterStateError, NotFoundError
from mkrpc.outcome import Outcome
from mkrpc.v1 import control_pb2 as pb
from mkrpc.v1 import types_pb2
from mkrpc.x86.irq_stat import FIELDS


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs a command where no cluster lives; gives click's result."""
    monkeypatch.setenv("MKRPC_STATE_DIR", str(tmp_path))
    monkeypatch.delenv("MKRPC_NAME", raising=False)
    return lambda *args: CliRunner().invoke(main, [str(arg) for arg in args])


def told(result) -> tuple[str, str]:
    """The two lines of an error: what happened, what to do."""
    assert "Traceback" not in result.output
    what, advice = result.stderr.splitlines()
    assert what.startswith("mkrpc: ")
    assert advice.startswith("  → ")
    return what, advice


USAGE_ERRORS = [
    (["ipi"], "--to"),
    (["ipi", "--to", "2", "--vector", "256"], "out of range: 0x0 to 0xff"),
    (["ipi", "--to", "2", "--vector", "0x100"], "out of range"),
    (["ipi", "--to", "2", "--vector", "5"], "not between 0x10 and 0xff"),
    (["ipi", "--to", "2", "--vector", "ea"], "not a number"),
    (["ipi", "--to", "2", "--count", "0"], "out of range: 1 to 1000000"),
    (["ipi", "--to", "2", "--count", "1000001"], "out of range"),
    (["ipi", "--to", "2", "--mode", "extint"], "extint"),
    (["ipi", "--to", "2", "--mode", "sipi"], "needs a vector"),
    (["ipi", "--to", "2", "--mode", "nmi", "--vector", "2"], "has no vector"),
    (["ipi", "--to", "-1"], "does not fit 32 bits"),
    (["ipi", "--to", "4294967296"], "does not fit 32 bits"),
    (["ipi", "--to", "0xzz"], "not a number"),
    (["ipi", "--to", "instance:512"], "does not fit 9 bits"),
    (["ipi", "--to", "instance:"], "id or a name"),
    (["ipi", "--to", "icr:0x10000000000000000"], "does not fit 64 bits"),
    (["ipi", "--to", "icr:"], "not a number"),
    (["ipi", "--to", "cpu:3"], "not a destination"),
    (["ipi", "--to", ""], "not a destination"),
    (["ipi", "--to", "icr:0xea", "--vector", "0xea"], "its own vector"),
    (["ipi", "--to", "self"], "no APIC of its own"),
    (["ipi", "--to", "others"], "no APIC of its own"),
    (["ipi", "--to", "2", "--from", "0xffffffff"], "out of range"),
    (["cpu", "x"], "not a number"),
    (["cpu", "0", "--tpr", "256"], "out of range: 0x0 to 0xff"),
    (["cpu", "0", "--if", "maybe"], "maybe"),
    (["up", "--instances", "0"], "out of range: 1 to 512"),
    (["up", "--cpus", "513"], "out of range: 1 to 512"),
    (["up", "--instances", "2", "--topology", "x.toml"], "beside --topology"),
    (["up", "--topology", "x.toml", "--policy", "filtered"], "beside --topology"),
    (["up", "--instances", "256", "--cpus", "1", "--mode", "xapic"], "above 254"),
    (["up", "--topology", "absent.toml"], "cannot be read"),
    (["up", "--json"], "--detach"),
    (["down", "--all", "--address", "unix:/x"], "exclude"),
    (["show", "--address", "nonsense"], "not an address"),
    (["conform"], "PATHS"),
    (["rign"], "rign"),
]


@pytest.mark.parametrize(("args", "says"), USAGE_ERRORS, ids=[" ".join(a) for a, _ in USAGE_ERRORS])
def test_a_command_that_cannot_be_exits_2_with_what_and_what_to_do(run, args, says):
    result = run(*args)
    assert result.exit_code == 2, result.output
    assert says in told(result)[0]


@pytest.mark.parametrize(
    "args",
    [
        ["show"],
        ["ipi", "--to", "2"],
        ["cpu", "0"],
        ["interrupts"],
        ["dmesg", "0"],
        ["ledger"],
        ["watch"],
        ["exec", "1"],
        ["kill", "1"],
        ["down"],
    ],
    ids=lambda args: args[0],
)
def test_without_a_cluster_every_command_exits_3_and_names_it(run, args):
    result = run(*args, "--name", "nowhere")
    assert result.exit_code == 3, result.output
    assert "nowhere" in told(result)[0]


def test_the_name_may_come_from_the_environment(run, monkeypatch):
    monkeypatch.setenv("MKRPC_NAME", "elsewhere")
    assert "elsewhere" in told(run("show"))[0]


def test_nobody_at_an_address_exits_3(run, tmp_path):
    result = run("show", "--address", f"unix:{tmp_path}/s")
    assert result.exit_code == 3
    what, advice = told(result)
    assert f"{tmp_path}/s" in what
    assert "mkrpc up" in advice


def test_down_all_with_nothing_running_is_no_error(run):
    result = run("down", "--all")
    assert (result.exit_code, result.stdout) == (0, "nothing is running\n")


def test_a_bad_topology_file_is_told_by_line(run, tmp_path):
    path = tmp_path / "bad.toml"
    path.write_text("[[instances]]\nid = 0\ncpus = [0]\n[[instances]]\nid = 1\ncpus = [0]\n")
    result = run("up", "--topology", path)
    assert result.exit_code == 2
    assert f"{path}: line 6: instances[1].cpus: APIC id 0" in told(result)[0]


def test_every_command_explains_itself(run):
    for name in main.commands:
        result = run(name, "--help")
        assert result.exit_code == 0
        assert "Usage: " in result.stdout
    assert run().exit_code == 2


def test_the_command_line_loads_without_grpc():
    """Help, completion and usage errors stay quick, and a fork server may be started first."""
    code = "import sys, mkrpc.cli; sys.exit('grpc' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


DESTINATIONS = [
    ("3", apic(3)),
    ("0x3", apic(3)),
    ("0xffffffff", apic(0xFFFF_FFFF)),
    ("apic:3", apic(3)),
    ("instance:3", instance(3)),
    ("instance:web", instance("web")),
    ("web", instance("web")),
    ("instance:all", instance("all")),
    ("self", shorthand("self")),
    ("all", shorthand("all")),
    ("others", shorthand("others")),
    ("logical:0xff", logical(0xFF)),
    ("icr:0xea", icr(0xEA)),
    ("icr:234", icr(0xEA)),
    # More than 8 digits can be no APIC id, whatever their value.
    ("0x3000000ea", icr(0x3_0000_00EA)),
    ("0x00000000000000ea", icr(0xEA)),
    ("0x000000ea", apic(0xEA)),
]


@pytest.mark.parametrize(("text", "destination"), DESTINATIONS)
def test_forms_of_a_destination(text, destination):
    assert DestinationType().convert(text, None, None) == destination


def test_a_destination_that_is_none_is_a_usage_error():
    with pytest.raises(click.UsageError):
        DestinationType().convert("a b", None, None)


def legs(*counts: tuple[int, int | None, Outcome, int]) -> list[pb.LegCount]:
    return [pb.LegCount(apic_id=a, instance_id=i, outcome=o, count=n) for a, i, o, n in counts]


def test_ipi_prints_every_leg_and_exits_0_if_all_arrived(run, peer):
    some = legs((2, 1, Outcome.DELIVERED, 1), (3, 1, Outcome.COALESCED, 999))
    peer.will("Inject", pb.InjectResponse(written=1000, legs=some))
    result = run("ipi", "--address", peer.address, "--to", "2", "--count", "1000")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "apic 2 of instance 1: delivered",
        "apic 3 of instance 1: coalesced x 999",
    ]
    (request,) = peer.requests
    assert (request.destination.apic_id, request.vector, request.count) == (2, 0xEA, 1000)


def test_ipi_exits_1_if_one_leg_did_not_arrive(run, peer):
    some = legs((2, 1, Outcome.DELIVERED, 1), (0xFFFF_FFFF, None, Outcome(16), 1))
    peer.will("WriteIcr", pb.WriteIcrResponse(written=2, legs=some))
    result = run("ipi", "--address", peer.address, "--from", "0", "--to", "others")
    assert result.exit_code == 1
    assert "nobody: rejected(no_such_apic)" in result.stdout.splitlines()
    assert peer.requests[0].apic_id == 0
    assert peer.requests[0].destination.shorthand == pb.SHORTHAND_ALL_EXCLUDING_SELF


def test_many_kinds_of_legs_are_a_table_of_counts(run, peer):
    many = legs(*((n, n // 2, Outcome.DELIVERED, 7) for n in range(MAX_LINES + 1)))
    peer.will("Inject", pb.InjectResponse(written=7, legs=many))
    result = run("ipi", "--address", peer.address, "--to", "all")
    head, *rows = result.stdout.splitlines()
    assert head.split() == ["to", "instance", "outcome", "count"]
    assert len(rows) == MAX_LINES + 1
    assert rows[16].split() == ["apic", "16", "8", "delivered", "7"]


def test_ipi_json(run, peer):
    some = legs((2, 1, Outcome.LOST_TARGET_DEAD_MAYBE_DELIVERED, 3))
    peer.will("Inject", pb.InjectResponse(written=3, legs=some))
    result = run("ipi", "--address", peer.address, "--to", "web", "--count", "3", "--json")
    assert result.exit_code == 1
    leg = {"apic_id": 2, "instance_id": 1, "outcome": "lost(target_dead, maybe_delivered)"}
    assert json.loads(result.stdout) == {
        "written": 3,
        "all_arrived": False,
        "legs": [leg | {"count": 3}],
    }


def test_what_the_cluster_refuses_exits_3_with_its_words(run, peer):
    peer.will("Inject", NotFoundError("no instance called wbe", advice="did you mean web?"))
    result = run("ipi", "--address", peer.address, "--to", "wbe")
    assert result.exit_code == 3
    assert told(result) == ("mkrpc: no instance called wbe", "  → did you mean web?")


ACCOUNT = types_pb2.CpuAccount(
    cpu=0,
    irr=(1 << 0xEA | 1 << 0x31).to_bytes(32, "little"),
    isr=b"",
    interrupts_enabled=True,
    activity="idle",
    multikernel=5,
    stats=[types_pb2.IrqStatCount(field=FIELDS.index("irq_call_count"), count=5)],
)
CLUSTER = pb.GetClusterResponse(
    address="unix:/x",
    epoch=0xABC,
    interconnect_pid=11,
    policy="bare-metal",
    instances=[
        pb.Instance(
            id=1,
            name="web",
            state=pb.INSTANCE_STATE_ACTIVE,
            incarnation=bytes(range(16)),
            pid=77,
            incarnations=1,
            cpus=[
                pb.Cpu(
                    address=types_pb2.CpuAddress(apic_id=2, mode=types_pb2.APIC_MODE_X2APIC),
                    account=ACCOUNT,
                )
            ],
        ),
        pb.Instance(id=2, name="db", state=pb.INSTANCE_STATE_FAILED, detail="killed by signal 9"),
    ],
)


def test_show_json_has_the_promised_keys(run, peer):
    peer.will("GetCluster", CLUSTER)
    shown = json.loads(run("show", "--address", peer.address, "--json").stdout)
    assert (shown["address"], shown["epoch"]) == ("unix:/x", "0000000000000abc")
    web, db = shown["instances"]
    assert {key: web[key] for key in ("id", "name", "state", "incarnation", "pid")} == {
        "id": 1,
        "name": "web",
        "state": "active",
        "incarnation": "000102030405060708090a0b0c0d0e0f",
        "pid": 77,
    }
    (cpu,) = web["cpus"]
    assert {key: cpu[key] for key in ("apic_id", "mode", "irr", "isr")} == {
        "apic_id": 2,
        "mode": "x2apic",
        "irr": [0x31, 0xEA],
        "isr": [],
    }
    assert set(cpu["irq_stat"]) == set(FIELDS)
    assert cpu["irq_stat"]["irq_call_count"] == 5
    assert cpu["irq_stat"]["nmi_count"] == 0
    assert (db["state"], db["incarnation"], db["cpus"]) == ("failed", "", [])


def test_show_is_a_line_an_instance(run, peer):
    peer.will("GetCluster", CLUSTER)
    lines = run("show", "--address", peer.address).stdout.splitlines()
    assert lines[0] == "address unix:/x"
    assert lines[-2].split() == ["1", "web", "active", "77", "00010203", "2", "x2apic", "5"]
    assert lines[-1].split(maxsplit=5)[:3] == ["2", "db", "failed"]
    assert lines[-1].rstrip().endswith("killed by signal 9")


def ledger_answer(*, balanced: bool) -> pb.GetLedgerResponse:
    totals = pb.LedgerTotals(written=3, delivered=1, coalesced=1, rejected=1)
    row = pb.LedgerRow(
        source=pb.LedgerParty(name="client", identity=b"\x01" * 16),
        destination=pb.LedgerParty(instance_id=1, name="web", identity=b"\x02" * 16, apic_id=2),
        delivery_mode="fixed",
        vector=0xEA,
        totals=totals,
        outcomes=[
            pb.OutcomeCount(outcome=1, count=1),
            pb.OutcomeCount(outcome=2, count=1),
            pb.OutcomeCount(outcome=18, count=1),
        ],
    )
    nobody = pb.LedgerRow(source=pb.LedgerParty(instance_id=0, name="host"), delivery_mode="nmi")
    discrepancies = [] if balanced else ["web apic 2: delivered 1, mirrored 2"]
    return pb.GetLedgerResponse(
        balanced=balanced, totals=totals, rows=[row, nobody], discrepancies=discrepancies
    )


def test_ledger_json_has_the_promised_keys(run, peer):
    peer.will("GetLedger", ledger_answer(balanced=True))
    result = run("ledger", "--address", peer.address, "--json")
    assert result.exit_code == 0
    books = json.loads(result.stdout)
    totals = {
        "written": 3,
        "delivered": 1,
        "coalesced": 1,
        "rejected": 1,
        "lost": 0,
        "in_flight": 0,
    }
    assert books["balanced"] is True
    assert books["totals"] == totals
    row, nobody = books["rows"]
    assert totals.items() <= row.items()
    assert row["source"]["name"] == "client"
    assert row["source"]["instance_id"] is None
    assert (row["destination"]["instance_id"], row["destination"]["apic_id"]) == (1, 2)
    assert (row["delivery_mode"], row["vector"]) == ("fixed", 0xEA)
    assert row["outcomes"] == {
        "delivered": 1,
        "coalesced": 1,
        "rejected(software_disabled)": 1,
    }
    assert (nobody["source"]["instance_id"], nobody["destination"]) == (0, None)


def test_books_that_do_not_balance_exit_1_and_say_where(run, peer):
    peer.will("GetLedger", ledger_answer(balanced=False))
    result = run("ledger", "--address", peer.address)
    assert result.exit_code == 1
    assert "web apic 2: delivered 1, mirrored 2" in result.stdout.splitlines()
    assert "the books do NOT balance" in result.stdout


def test_quiesce_comes_before_the_books(run, peer):
    peer.will("Quiesce", pb.QuiesceResponse(rounds=1))
    peer.will("GetLedger", ledger_answer(balanced=True))
    assert run("ledger", "--address", peer.address, "--quiesce").exit_code == 0
    assert [type(request) for request in peer.requests] == [pb.QuiesceRequest, pb.GetLedgerRequest]


def test_cpu_sets_first_and_shows_the_registers(run, peer):
    view = types_pb2.CpuView(
        account=ACCOUNT,
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


PROC = (
    "           CPU0       CPU1       \n"
    "NMI:          1          0   Non-maskable interrupts\n"
    "CAL:         12          3   Function call interrupts\n"
    "ERR:          4\n"
)


def test_interrupts_of_every_active_instance_as_the_kernel_prints_them(run, peer):
    peer.will("GetCluster", CLUSTER)
    peer.will("GetProc", pb.GetProcResponse(text=PROC))
    result = run("interrupts", "--address", peer.address)
    assert result.stdout == "instance 1 (web)\n" + PROC
    shown = json.loads(run("interrupts", "web", "--address", peer.address, "--json").stdout)
    assert shown["instances"][0]["rows"] == {"NMI": [1, 0], "CAL": [12, 3], "ERR": [4]}
    assert shown["instances"][0]["text"] == PROC


def test_the_mirror_has_irq_stat_by_linux_names(run, peer):
    peer.will("GetCluster", CLUSTER)
    shown = json.loads(run("interrupts", "--mirror", "--address", peer.address, "--json").stdout)
    assert shown["instances"][0]["rows"]["irq_call_count"] == [5]


@pytest.mark.parametrize("text", ["", "\n", "nothing here\nlike a table\n"])
def test_what_is_no_proc_interrupts_has_no_rows(text):
    assert parse_interrupts(text) == {}


def test_dmesg_prints_as_dmesg_does(run, peer):
    record = pb.LogRecord(number=9, level=6, time_us=1374792, text="Multikernel interrupt")
    pages = (pb.GetLogResponse(records=[record], dropped=8), pb.GetLogResponse(dropped=8))
    peer.will("GetCluster", CLUSTER)
    for options, line in (
        ((), "[    1.374792] Multikernel interrupt"),
        (("--raw",), "<6>[    1.374792] Multikernel interrupt"),
    ):
        peer.will("GetLog", *pages)
        result = run("dmesg", "web", "--address", peer.address, *options)
        assert result.stdout.splitlines() == [line]
        assert "overwritten 8" in result.stderr


def test_exec_and_kill_take_names_and_numbers(run, peer):
    peer.will("GetCluster", CLUSTER)
    peer.will("ExecInstance", pb.ExecInstanceResponse(pid=78))
    peer.will("KillInstance", pb.KillInstanceResponse(exit_code=-9))
    assert "process 78" in run("exec", "db", "--address", peer.address).stdout
    assert "exit code -9" in run("kill", "1", "--force", "--address", peer.address).stdout
    assert peer.requests[1].instance_id == 2
    assert (peer.requests[3].instance_id, peer.requests[3].force) == (1, True)


def test_exec_of_what_runs_is_refused_by_its_state(run, peer):
    peer.will("GetCluster", CLUSTER)
    peer.will("ExecInstance", ClusterStateError("web is active", advice="kill it first"))
    result = run("exec", "web", "--address", peer.address)
    assert result.exit_code == 3
    assert told(result)[0] == "mkrpc: web is active"


def test_watch_prints_events_and_ends_with_the_stream(run, peer):
    batch = pb.WatchResponse(missed=4, events=[pb.Event(kind="leg", number=5, fields={"to": "2"})])
    peer.will("Watch", iter([batch]), iter([batch]))
    result = run("watch", "--address", peer.address)
    assert result.stdout == "5 leg to=2\n"
    assert "missed 4 events" in result.stderr
    line = json.loads(run("watch", "--json", "--address", peer.address).stdout)
    assert line == {"number": 5, "kind": "leg", "fields": {"to": "2"}}


def test_without_a_terminal_the_view_prints_only_what_moved(capsys):
    idle, busy = (
        Ledger(balanced=True, totals=LedgerTotals(n, n, 0, 0, 0, 0), rows=(), discrepancies=())
        for n in (0, 7)
    )
    draw = Lines()
    draw(ClusterView.of(CLUSTER), idle)
    first = capsys.readouterr().out.splitlines()
    assert first[:2] == [
        "instance 1 (web): active pid 77",
        "instance 2 (db): failed pid 0 (killed by signal 9)",
    ]
    assert first[2].startswith("written 0 = ")
    draw(ClusterView.of(CLUSTER), idle)
    assert capsys.readouterr().out == ""
    draw(ClusterView.of(CLUSTER), busy)
    assert capsys.readouterr().out.startswith("written 7 = delivered 7 + ")


@pytest.mark.parametrize(
    ("ids", "text"),
    [([], ""), ([3], "3"), ([0, 1, 2, 3, 8], "0-3,8"), ([9, 4, 5], "4-5,9")],
)
def test_apic_ids_in_short(ids, text):
    assert apic_ids_text(ids) == text
