"""A stopped instance is dead after its lease, and what wakes after that does nothing (3.3, 5)."""

import os
import re
import signal
import threading
import time
from pathlib import Path

import pytest

from mkrpc.client import Client, apic
from mkrpc.interconnect.lease import LEASE_US
from mkrpc.outcome import Outcome

pytestmark = pytest.mark.e2e

LEASE_S = LEASE_US / 1e6


def stop_and_wait(pid: int) -> None:
    """SIGSTOP, and until it has taken effect; the process is nobody's child here."""
    os.kill(pid, signal.SIGSTOP)
    while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":
        continue


@pytest.mark.mk_topology(lease_s=1)
def test_a_topology_says_how_long_an_instance_may_be_silent(mk_cluster, wait_for_state):
    client = mk_cluster.client
    stop_and_wait(client.find_instance(1).pid)
    wait_for_state(client, 1, "failed")
    assert client.find_instance(1).detail == "lease expired: silent for 1 s"


@pytest.mark.mk_topology(instances=3, cpus=2)
def test_a_stopped_instance_ends_with_its_lease_and_comes_back_as_a_new_one(
    mk_cluster, read_cal, assert_mirrors, wait_for_state
):
    client = mk_cluster.client
    victim = client.cluster().instances[1]
    assert client.inject(to=apic(2), count=10).all_arrived
    stop_and_wait(victim.pid)
    while not (silent := client.find_instance(1)).detail:
        continue
    assert silent.state == "active"
    assert re.fullmatch(r"silent for \d\.\d s; its lease ends in \d\.\d s", silent.detail)
    result = client.inject(to=apic(2), count=100)

    assert {leg.outcome for leg in result.legs} <= {
        Outcome.LOST_TARGET_DEAD,
        Outcome.LOST_TARGET_DEAD_MAYBE_DELIVERED,
    }
    dead = client.find_instance(1)
    assert (dead.state, dead.detail) == ("failed", "lease expired: silent for 3 s")
    assert client.inject(to=apic(4), count=100).all_arrived, "the others go on"

    os.kill(victim.pid, signal.SIGCONT)
    while "exit code 7" not in client.find_instance(1).detail:
        continue
    log = (mk_cluster.state_dir / "logs" / f"{victim.name}.log").read_text()
    assert re.search("the lease of instance 1 ended|lease expired: silent for 3 s", log)

    client.exec_instance(1)
    again = client.find_instance(1)
    assert (again.state, again.incarnations) == ("active", 2)
    assert again.incarnation != victim.incarnation
    assert client.inject(to=apic(2)).all_arrived
    assert read_cal(mk_cluster, 1) == [1, 0]
    assert_mirrors(mk_cluster)


@pytest.mark.mk_topology(lease_s=60)
def test_an_instance_that_wakes_within_its_lease_has_lost_nothing(mk_cluster, assert_mirrors):
    client = mk_cluster.client
    victim = client.cluster().instances[1]
    arrived = []

    def ring() -> None:
        with Client(mk_cluster.address) as other:
            arrived.append(other.inject(to=apic(2), count=50).all_arrived)

    stop_and_wait(victim.pid)
    thread = threading.Thread(target=ring)
    thread.start()
    while not client.ledger(totals_only=True).totals.in_flight:
        continue
    os.kill(victim.pid, signal.SIGCONT)
    thread.join()
    assert arrived == [True]
    assert client.find_instance(1).incarnation == victim.incarnation
    assert_mirrors(mk_cluster)


def test_a_handler_that_runs_for_longer_than_the_lease_is_no_stopped_process(
    mk_cluster_factory, assert_mirrors
):
    """Design 3.5: beats come from a thread of their own."""

    def slow(_cpu):
        import time

        time.sleep(4)  # what is tried: nothing here waits for it by the clock

    cluster = mk_cluster_factory(handlers={1: [slow]})
    client = cluster.client
    before = client.find_instance(1)
    began = time.monotonic()
    assert client.inject(to=apic(2)).all_arrived
    client.quiesce()
    assert time.monotonic() - began > LEASE_S
    after = client.find_instance(1)
    assert (after.state, after.incarnation) == ("active", before.incarnation)
    assert_mirrors(cluster)
