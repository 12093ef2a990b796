"""The interconnect dies between the start of a process and its SIPI: the next one sends it."""

import os
import signal
import threading

import pytest

from mkrpc import Cluster, Topology, apic
from mkrpc.errors import UnavailableError

pytestmark = pytest.mark.e2e


def test_an_exec_that_an_interconnect_did_not_finish_is_finished_by_the_next():
    # The host's kernel is stopped for a while, and is not to be dead by that.
    topology = Topology.from_dict(
        {"lease_s": 60, "instances": [{"id": 0, "cpu_count": 2}, {"id": 1, "cpu_count": 2}]}
    )
    with Cluster.start(topology, name="half-started") as cluster:
        client = cluster.client
        client.kill_instance(1, force=True)
        before = client.cluster()
        # The host's kernel cannot write INIT, so that nothing comes after it either.
        host = client.find_instance(0).pid
        os.kill(host, signal.SIGSTOP)
        failed: list[Exception] = []

        def start() -> None:
            try:
                client.exec_instance(1)
            except UnavailableError as error:
                failed.append(error)

        asker = threading.Thread(target=start)
        asker.start()
        first_life = before.instances[1].incarnation
        while (found := client.find_instance(1)).incarnation == first_life:
            continue
        assert found.detail == "its boot CPU has not come up yet"
        os.kill(before.interconnect_pid, signal.SIGKILL)
        os.kill(host, signal.SIGCONT)
        asker.join()
        assert failed
        while (view := client.cluster()).epoch == before.epoch or view.recovery is not None:
            continue
        while (found := client.find_instance(1)).state != "active":
            assert found.state == "loaded", found
        for apic_id in (2, 3):
            assert client.inject(to=apic(apic_id)).all_arrived
        client.quiesce()
        assert client.ledger().balanced
