"""``mkrpc show``, ``mkrpc ledger`` and the live view: the keys that scripts rely on."""

import json

import pytest

from mkrpc.cli.live import Lines
from mkrpc.cli.output import apic_ids_text
from mkrpc.cli.show import FEW_CPUS
from mkrpc.client.answers import ClusterView
from mkrpc.client.books import Ledger, LedgerTotals
from mkrpc.v1 import control_pb2 as pb
from mkrpc.v1 import types_pb2
from mkrpc.x86.irq_stat import FIELDS


def test_show_json_has_the_promised_keys(run, peer, two_instances):
    peer.will("GetCluster", two_instances)
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


def test_show_tells_how_a_recovery_goes(run, peer, two_instances):
    trouble = "/x/books.sqlite: disk I/O error"
    recovery = pb.Recovery(back=3, expected=8, left_us=2_120_000)
    said = pb.GetClusterResponse(restarts=2, recovery=recovery, books_trouble=trouble)
    said.MergeFrom(two_instances)
    peer.will("GetCluster", said)
    lines = run("show", "--address", peer.address).stdout.splitlines()
    assert lines[1].endswith(", restarts 2")
    assert lines[2] == "recovering: 3 of 8 instances are back, at most 2.1 s more"
    assert lines[3] == "books are not kept: /x/books.sqlite: disk I/O error"
    shown = json.loads(run("show", "--address", peer.address, "--json").stdout)
    assert shown["restarts"] == 2
    assert shown["recovery"] == {"back": 3, "expected": 8, "left_us": 2_120_000}
    assert shown["books_trouble"] == trouble


def test_show_says_nothing_of_restarts_where_there_were_none(run, peer, two_instances):
    peer.will("GetCluster", two_instances)
    shown = json.loads(run("show", "--address", peer.address, "--json").stdout)
    assert (shown["restarts"], shown["recovery"], shown["books_trouble"]) == (0, None, "")
    assert "restarts" not in run("show", "--address", peer.address).stdout


def test_the_live_view_tells_of_another_interconnect(capsys, two_instances):
    books = Ledger(balanced=True, totals=LedgerTotals(0, 0, 0, 0, 0, 0), discrepancies=(), rows=())
    lines = Lines()
    view = pb.GetClusterResponse()
    view.CopyFrom(two_instances)

    def look():
        lines(ClusterView.of(view), books)
        return capsys.readouterr().out.splitlines()

    look()
    view.epoch, view.restarts, view.interconnect_pid = 9, 1, 4711
    for left_us in (3_000_000, 2_000_000):
        view.recovery.CopyFrom(pb.Recovery(back=1, expected=2, left_us=left_us))
        said = look()
        if left_us == 3_000_000:
            assert said == [
                "the interconnect was started again: pid 4711, restarts 1",
                "recovering: 1 of 2 instances are back, at most 3.0 s more",
            ]
    assert said == [], "how far it has got is no news of its own"
    view.ClearField("recovery")
    assert look() == ["the interconnect has recovered"]


def test_show_is_a_line_an_instance(run, peer, two_instances):
    peer.will("GetCluster", two_instances)
    lines = run("show", "--address", peer.address, "--no-cpus").stdout.splitlines()
    assert lines[0] == "address unix:/x"
    assert lines[-2].split() == ["1", "web", "active", "77", "00010203", "2", "x2apic", "5"]
    assert lines[-1].split(maxsplit=5)[:3] == ["2", "db", "failed"]
    assert lines[-1].rstrip().endswith("killed by signal 9")


def test_show_is_a_line_a_cpu_too_where_they_are_few(run, peer, two_instances):
    peer.will("GetCluster", two_instances)
    lines = run("show", "--address", peer.address).stdout.splitlines()
    columns = ["apic", "instance", "cpu", "state", "IF", "tpr", "ppr", "irr", "isr", "CAL"]
    assert lines[-2].split() == columns
    assert lines[-1].split() == ["2", "web", "0", "idle", "on", "0x00", "0x00", "2", "0", "5"]


@pytest.mark.parametrize(
    ("cpus", "options", "listed"),
    [
        (FEW_CPUS, [], FEW_CPUS),
        (FEW_CPUS + 1, [], 0),
        (FEW_CPUS + 1, ["--cpus"], FEW_CPUS + 1),
        (1, ["--no-cpus"], 0),
    ],
)
def test_the_cpus_of_a_large_machine_are_listed_on_request(
    run, peer, account, *, cpus, options, listed
):
    instance = pb.Instance(id=1, name="web", state=pb.INSTANCE_STATE_ACTIVE)
    for apic_id in range(cpus):
        address = types_pb2.CpuAddress(apic_id=apic_id, mode=types_pb2.APIC_MODE_X2APIC)
        instance.cpus.add(address=address, account=account)
    peer.will("GetCluster", pb.GetClusterResponse(instances=[instance]))
    lines = run("show", "--address", peer.address, *options).stdout.splitlines()
    assert sum(" idle " in line for line in lines) == listed
    left_out = not listed and not options
    assert (lines[-1] == f"--cpus lists all {cpus} CPUs") == left_out


def test_show_tells_what_is_set_apart_from_the_defaults(run, peer, two_instances):
    cluster = pb.GetClusterResponse()
    cluster.CopyFrom(two_instances)
    cluster.apic.update({"lowest_priority": "hash", "icr_bit12": "gp"})
    cluster.instances[0].switches.update({"entry": "fred", "apic.icr_bit12": "cleared"})
    peer.will("GetCluster", cluster)
    lines = run("show", "--address", peer.address).stdout.splitlines()
    assert lines[2:4] == [
        "apic icr_bit12=gp, lowest_priority=hash",
        "instance 1 (web): apic.icr_bit12=cleared, entry=fred",
    ]
    shown = json.loads(run("show", "--address", peer.address, "--json").stdout)
    assert shown["apic"] == {"icr_bit12": "gp", "lowest_priority": "hash"}
    assert [instance["switches"] for instance in shown["instances"]] == [
        {"apic.icr_bit12": "cleared", "entry": "fred"},
        {},
    ]


def test_show_tells_who_is_limited_and_how_much_was_refused(run, peer, two_instances):
    cluster = pb.GetClusterResponse()
    cluster.CopyFrom(two_instances)
    cluster.instances[0].rate.MergeFrom(
        pb.RateLimit(writes_per_s=2000, burst=200, available=3, passed=500, refused=77)
    )
    cluster.client_rate.MergeFrom(pb.RateLimit(writes_per_s=5, burst=1))
    peer.will("GetCluster", cluster)
    lines = run("show", "--address", peer.address).stdout.splitlines()
    assert lines[2:4] == [
        "clients: 5 writes/s, burst 1: 0 passed, 0 refused",
        "instance 1 (web): 2000 writes/s, burst 200: 500 passed, 77 refused",
    ]
    shown = json.loads(run("show", "--address", peer.address, "--json").stdout)
    assert [instance["rate"] for instance in shown["instances"]] == [
        {"writes_per_s": 2000, "burst": 200, "available": 3, "passed": 500, "refused": 77},
        None,
    ]
    assert shown["client_rate"]["writes_per_s"] == 5


def test_show_says_nothing_of_defaults(run, peer, two_instances):
    peer.will("GetCluster", two_instances)
    shown = run("show", "--address", peer.address).stdout
    assert "apic " in shown  # the column
    assert "=" not in shown


def ledger_answer(*, balanced: bool) -> list[pb.GetLedgerResponse]:
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
    summary = pb.LedgerSummary(balanced=balanced, totals=totals, discrepancies=discrepancies)
    return [
        pb.GetLedgerResponse(summary=summary),
        pb.GetLedgerResponse(rows=[row]),
        pb.GetLedgerResponse(rows=[nobody]),
    ]


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


def test_without_a_terminal_the_view_prints_only_what_moved(capsys, two_instances):
    idle, busy = (
        Ledger(balanced=True, totals=LedgerTotals(n, n, 0, 0, 0, 0), rows=(), discrepancies=())
        for n in (0, 7)
    )
    draw = Lines()
    draw(ClusterView.of(two_instances), idle)
    first = capsys.readouterr().out.splitlines()
    assert first[:2] == [
        "instance 1 (web): active pid 77",
        "instance 2 (db): failed (killed by signal 9)",
    ]
    assert first[2].startswith("written 0 = ")
    draw(ClusterView.of(two_instances), idle)
    assert capsys.readouterr().out == ""
    draw(ClusterView.of(two_instances), busy)
    assert capsys.readouterr().out.startswith("written 7 = delivered 7 + ")


@pytest.mark.parametrize(
    ("ids", "text"),
    [([], ""), ([3], "3"), ([0, 1, 2, 3, 8], "0-3,8"), ([9, 4, 5], "4-5,9")],
)
def test_apic_ids_in_short(ids, text):
    assert apic_ids_text(ids) == text
