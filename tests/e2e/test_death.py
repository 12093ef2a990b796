"""Instances die, clusters crash: the rest goes on, and nothing is left behind."""

import os
import signal
import socket
import threading
from pathlib import Path

import pytest

from mkrpc.client import Client, apic
from mkrpc.cluster import find, remove, running
from mkrpc.errors import MkrpcError, NotFoundError, UnavailableError
from mkrpc.outcome import Outcome, OutcomeKind
from mkrpc.state_dir import members

pytestmark = pytest.mark.e2e


def stop_and_wait(pid: int) -> None:
    """SIGSTOP, and until it has taken effect; the process is nobody's child here."""
    os.kill(pid, signal.SIGSTOP)
    while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":
        continue


def in_flight_to(client: Client, apic_id: int) -> int:
    """Legs to a CPU of which nobody knows yet what became of them."""
    return sum(
        row.totals.in_flight
        for row in client.ledger().rows
        if row.destination is not None and row.destination.apic_id == apic_id
    )


# It is stopped before it is killed, and is not to be dead by that.
@pytest.mark.mk_topology(instances=3, cpus=2, lease_s=60)
def test_an_instance_that_is_killed_costs_the_others_nothing(
    mk_cluster, read_cal, assert_mirrors, wait_for_state
):
    """Design 3.3, rule 3: legs belong to incarnations; 3.5: the others go on."""
    client = mk_cluster.client
    victim = client.cluster().instances[1]
    stop = threading.Event()
    outcomes: set[Outcome] = set()

    def ring_the_victim() -> None:
        with Client(mk_cluster.address) as other:
            while not stop.is_set():
                result = other.inject(to=apic(2), count=5000)
                outcomes.update(leg.outcome for leg in result.legs)

    def ring_its_other_cpu() -> None:
        with Client(mk_cluster.address) as other:
            outcomes.update(leg.outcome for leg in other.inject(to=apic(3)).legs)

    threads = [threading.Thread(target=ring_the_victim)]
    threads[0].start()
    events = client.watch()
    next_batch = next(events)  # the ringing has begun
    # One leg that it certainly cannot answer any longer, beside those that it perhaps can.
    stop_and_wait(victim.pid)
    threads.append(threading.Thread(target=ring_its_other_cpu))
    threads[1].start()
    while not in_flight_to(client, 3):
        continue
    os.kill(victim.pid, signal.SIGKILL)
    while not any(e.kind == "detach" for e in next_batch.events):
        next_batch = next(events)
    events.close()
    assert client.inject(to=apic(4), count=100).all_arrived
    stop.set()
    for thread in threads:
        thread.join()

    assert outcomes <= {
        Outcome.DELIVERED,
        Outcome.LOST_TARGET_DEAD,
        Outcome.LOST_TARGET_DEAD_MAYBE_DELIVERED,
        Outcome.REJECTED_NO_SUCH_APIC,
    }
    assert any(outcome.kind is OutcomeKind.LOST for outcome in outcomes)
    wait_for_state(client, 1, "failed")
    while "SIGKILL" not in client.find_instance(1).detail:
        continue  # its stream ends before its process, which alone the host agent reports
    assert read_cal(mk_cluster, 2) == [100, 0]
    assert_mirrors(mk_cluster)

    client.exec_instance(1)
    again = client.cluster().instances[1]
    assert (again.state, again.incarnations) == ("active", 2)
    assert again.incarnation != victim.incarnation
    assert read_cal(mk_cluster, 1) == [0, 0]
    assert client.inject(to=apic(2)).all_arrived
    assert read_cal(mk_cluster, 1) == [1, 0]
    assert_mirrors(mk_cluster)


def test_an_instance_ended_on_request_is_loaded_and_runs_again(mk_cluster, wait_for_state):
    client = mk_cluster.client
    assert client.kill_instance(1) == 0
    wait_for_state(client, 1, "loaded")
    with pytest.raises(MkrpcError, match="does not run"):
        client.kill_instance(1)
    client.exec_instance(1)
    with pytest.raises(MkrpcError, match=r"EBUSY: instance 1 .* is active"):
        client.exec_instance(1)
    assert client.inject(to=apic(3)).all_arrived


@pytest.mark.parametrize("victim", ["host agent", "interconnect"])
def test_down_after_a_crash_leaves_nothing_behind(mk_cluster, victim):
    """Design, section 7: no process, no socket, no shared memory."""
    view = mk_cluster.client.cluster()
    pid = mk_cluster.host_pid if victim == "host agent" else view.interconnect_pid
    descriptor = os.pidfd_open(pid)
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PIDFD, descriptor, os.WEXITED | os.WNOWAIT) if victim == "host agent" else None
    os.close(descriptor)
    remove(mk_cluster.name)
    assert members(mk_cluster.state_dir) == []
    assert not mk_cluster.state_dir.exists()
    assert mk_cluster.name not in running()
    with pytest.raises(NotFoundError):
        find(mk_cluster.name)
    with pytest.raises(UnavailableError, match="nobody answers"):
        Client(mk_cluster.address, connect_timeout_s=0.2)


def test_a_cluster_on_tcp_frees_its_port(mk_cluster_factory):
    cluster = mk_cluster_factory(address="127.0.0.1:0")
    host, _, port = cluster.address.rpartition(":")
    assert int(port) != 0
    cluster.stop()
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, int(port)))
