"""Stuck handlers and masked interrupts of real processes: what is reported, what `why` says."""

import os
import re
import signal
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from mkrpc.client import Client, apic
from mkrpc.client.answers import IpiResult

pytestmark = pytest.mark.e2e


def ring_and_wait(address: str, vector: int) -> Future[IpiResult]:
    """CPU 0 writes its ICR, and a client waits for what became of that."""

    def ring() -> IpiResult:
        with Client(address, timeout_s=100) as client:
            return client.write_icr(0, to=apic(2), vector=vector)

    waiting = ThreadPoolExecutor(1)
    answer = waiting.submit(ring)
    waiting.shutdown(wait=False)
    return answer


def stalls_until(client: Client, kinds: set[str]) -> dict[str, dict[str, str]]:
    """The first report of each kind of stall."""
    found: dict[str, dict[str, str]] = {}
    for batch in client.watch():
        for event in batch.events:
            if event.kind == "stall":
                found.setdefault(event.fields["stall"], event.fields)
        if kinds <= found.keys():
            break
    return found


def check_reports(reports: dict[str, dict[str, str]], source: bytes, victim: bytes) -> None:
    hung = reports["unanswered"]
    assert (hung["source"], hung["source_apic_id"]) == (source.hex(), "0")
    assert (hung["incarnation"], hung["apic_id"]) == (victim.hex(), "2")
    assert (hung["vector"], hung["count"]) == ("0x52", "1")
    assert int(hung["age_us"]) >= 5_000_000
    assert "handler of vector 0x52 on CPU 0, which has not returned" in hung["reason"]
    assert re.search(r"test_why\.py:\d+ in .*hang", hung["reason"])
    assert "ISR bit 0x52" in hung["reason"]
    masked = reports["pending"]
    assert (masked["apic_id"], masked["vector"]) == ("1", "0xea")
    assert "IF = 0" in masked["reason"]
    assert "TPR 0xe0 masks class 0xe" in masked["reason"]


def check_hung(command) -> None:
    answer = command.json("why", "2", "0x52")
    assert (answer["attached"], answer["told_by"]) == (True, "beat")
    assert "has not answered" in answer["unanswered"]
    assert answer["core"]["isr"] == [0x52]
    assert answer["core"]["handlers"] == [0x52]
    assert answer["in_service"]
    (legs,) = answer["in_flight"]
    assert (legs["source"]["apic_id"], legs["handed"], legs["waiting"]) == (0, 1, 0)
    assert {hold["kind"] for hold in answer["delay"]} == {"loop", "if-clear", "isr"}
    assert "has not returned" in command.run("why", "3", "234").stdout, "its neighbour waits too"


def check_masked(command) -> None:
    answer = command.json("why", "1", "0xea")
    assert (answer["told_by"], answer["unanswered"]) == ("instance", "")
    assert (answer["pending"], answer["in_service"]) == (True, False)
    assert [hold["kind"] for hold in answer["holds"]] == ["if-clear", "tpr"]
    assert answer["ages_us"]["pending"] >= 5_000_000


def test_a_handler_that_never_returns_and_a_masked_interrupt_are_reported_and_explained(
    mk_cluster_factory, shell
):
    def hangs_from_then_on(cpu):
        def hang(_cpu):
            while True:  # no EOI, no IRET, and no turn for the event loop of its process
                pass

        cpu.kernel.idt.install(0x52, "hangs", hang)

    cluster = mk_cluster_factory(handlers={1: [hangs_from_then_on]})
    client, command = cluster.client, shell(cluster)
    victim, source = client.find_instance(1), client.find_instance(0)
    assert client.inject(to=apic(2)).all_arrived
    client.set_cpu(1, tpr=0xE0, interrupts_enabled=False)
    assert client.inject(to=apic(1)).all_arrived
    ringing = ring_and_wait(cluster.address, 0x52)
    reports = stalls_until(client, {"unanswered", "pending"})

    check_reports(reports, source.incarnation, victim.incarnation)
    check_hung(command)
    check_masked(command)

    shown = command.json("show")["stalls"]
    assert {(stall["kind"], stall["apic_id"]) for stall in shown} == {
        ("unanswered", 2),
        ("pending", 1),
    }
    assert "stalled: vector 0x52 at APIC id 2" in command.run("show").stdout
    log = (cluster.state_dir / "logs" / "interconnect.log").read_text()
    assert log.count('"event": "stall"') >= 2

    client.set_cpu(1, tpr=0, interrupts_enabled=True)
    for batch in client.watch():
        if any(event.kind == "stall_end" for event in batch.events):
            break
    assert not command.json("why", "1", "234")["pending"]
    client.kill_instance(1, force=True)
    assert not ringing.result().all_arrived, "its destination died with it in hand"


# It is not to be dead before it is asked.
@pytest.mark.mk_topology(lease_s=60)
def test_a_process_that_is_stopped_is_spoken_of_by_the_interconnect_alone(mk_cluster, shell):
    client, command = mk_cluster.client, shell(mk_cluster)
    victim = client.find_instance(1)
    assert client.inject(to=apic(2)).all_arrived
    os.kill(victim.pid, signal.SIGSTOP)
    answer = client.why(2, 0xEA)
    assert answer.told_by == "report"
    assert answer.unanswered
    assert answer.counts.handled == 1
    assert answer.handled_us is not None
    os.kill(victim.pid, signal.SIGCONT)
    client.quiesce()
    client.kill_instance(1)
    lines = command.run("why", "2", "0xea").stdout.splitlines()
    assert "which is not attached: left:" in lines[0]
    assert any("delivered 1" in line and "from a client" in line for line in lines)
