"""The interconnect is killed, and another one takes over: design 3.3, rule 4.

Its host agent starts it; the instances go on in the same incarnation, and what they wrote has one
outcome each.
"""

import os
import signal
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from mkrpc.client import Client, apic
from mkrpc.cluster import Cluster
from mkrpc.errors import MkrpcError, UnavailableError
from mkrpc.host.restarts import MAX_RESTARTS
from mkrpc.instance.cpu import Cpu
from mkrpc.instance.instructions import Hlt, WriteIcr
from mkrpc.state_dir import BOOKS_FILE
from mkrpc.x86.icr import fixed

LEASE_S = 60
"""However long another interconnect takes to start where there is much else to do."""

pytestmark = [pytest.mark.e2e, pytest.mark.mk_topology(lease_s=LEASE_S)]

WRITES = 5000
"""ICR writes of one program."""


def kill_interconnect(client: Client) -> int:
    """kill -9, and until its process is gone; its epoch."""
    view = client.cluster()
    descriptor = os.pidfd_open(view.interconnect_pid)
    os.kill(view.interconnect_pid, signal.SIGKILL)
    os.close(descriptor)
    return view.epoch


def served_again(client: Client, epoch: int):
    """The cluster, once an interconnect of another epoch has all that it waits for."""
    while (view := client.cluster()).epoch == epoch or view.recovery is not None:
        continue
    return view


def incarnations(view) -> dict[int, bytes]:
    return {each.id: each.incarnation for each in view.instances if each.state == "active"}


def ringing(targets: list[int]) -> Callable[[Cpu], Iterator[object]]:
    """A program that rings others in turn, without a pause, once it has been rung itself."""

    def program(cpu: Cpu) -> Iterator[object]:
        yield Hlt()
        for number in range(WRITES):
            yield WriteIcr(fixed(targets[number % len(targets)], 0xEA))

    return program


def ringers(apic_ids: range) -> dict[int, Callable[[Cpu], Iterator[object]]]:
    return {each: ringing([other for other in apic_ids if other != each]) for each in apic_ids}


def start_ringing(client: Client, apic_ids: range) -> None:
    """All are attached, so that nobody rings into the void."""
    for apic_id in apic_ids:
        client.inject(to=apic(apic_id))


def written_by(client: Client) -> Counter[int | None]:
    """Legs by source instance; None for clients."""
    written: Counter[int | None] = Counter()
    for row in client.ledger().rows:
        written[row.source.instance_id] += row.totals.written
    return written


def wait_until_written(client: Client, count: int) -> None:
    while client.ledger(totals_only=True).totals.written < count:
        continue


def wait_until_on_disk(cluster: Cluster, instance_id: int) -> None:
    """Until a snapshot has rows of this source."""
    books = sqlite3.connect(f"file:{cluster.state_dir / BOOKS_FILE}?mode=ro", uri=True)
    rows = "SELECT 1 FROM ledger JOIN parties ON source = number WHERE instance_id = ?"
    while not books.execute(rows, (instance_id,)).fetchall():
        continue
    books.close()


class Injecting:
    """A client that rings a CPU all the time; ``results`` of all its calls, errors included."""

    def __init__(self, cluster: Cluster, apic_id: int) -> None:
        self.results: list[object] = []
        self._stop = threading.Event()
        self._cluster, self._apic_id = cluster, apic_id
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        with Client(self._cluster.address) as client:
            while not self._stop.is_set():
                try:
                    self.results.append(client.inject(to=apic(self._apic_id), count=20))
                except MkrpcError as error:
                    self.results.append(error)

    def stop(self) -> list[object]:
        self._stop.set()
        self._thread.join()
        return self.results


def test_killed_under_load_it_costs_nobody_anything(mk_cluster_factory, assert_mirrors):
    cluster = mk_cluster_factory(instances=4, cpus=1, lease_s=LEASE_S, programs=ringers(range(4)))
    client = cluster.client
    start_ringing(client, range(4))
    injecting = Injecting(cluster, 0)
    wait_until_written(client, WRITES)
    before = incarnations(client.cluster())
    view = served_again(client, kill_interconnect(client))
    assert view.restarts == 1
    wait_until_written(client, 4 * WRITES)
    results = injecting.stop()
    client.quiesce()

    assert incarnations(client.cluster()) == before
    assert all(result.all_arrived for result in results), "each call happened, and once"
    written = written_by(client)
    assert [written[each] for each in range(4)] == [WRITES] * 4, "no write is without an outcome"
    assert written[None] == 4 + 20 * len(results)
    totals = client.ledger(totals_only=True).totals
    assert (totals.lost, totals.rejected, totals.in_flight) == (0, 0, 0)
    assert_mirrors(cluster)


def test_killed_together_with_an_instance_it_waits_for_the_others_alone(
    mk_cluster_factory, assert_mirrors, wait_for_state
):
    """The host agent has seen both end: nobody waits for the lease of one whose process is gone."""
    cluster = mk_cluster_factory(instances=3, cpus=1, lease_s=LEASE_S, programs=ringers(range(3)))
    client = cluster.client
    start_ringing(client, range(3))
    wait_until_on_disk(cluster, 2)
    view = client.cluster()
    before = incarnations(view)
    os.kill(view.instances[2].pid, signal.SIGKILL)
    view = served_again(client, kill_interconnect(client))
    after = incarnations(view)
    assert {each: after[each] for each in (0, 1)} == {each: before[each] for each in (0, 1)}
    wait_for_state(client, 2, "failed")
    written = Counter[int | None]()
    while min(written[0], written[1]) < WRITES:
        written = written_by(client)
    client.quiesce()
    assert_mirrors(cluster)
    # What the dead one had written has an outcome too; what it held may have been delivered.
    rows = client.ledger().rows
    assert sum(row.totals.written for row in rows if row.source.instance_id == 2) > 0

    client.exec_instance(2)
    assert client.inject(to=apic(2)).all_arrived
    assert_mirrors(cluster)


def test_killed_twice_in_a_row(mk_cluster_factory, assert_mirrors):
    """The second time as soon as it serves, perhaps while it waits for instances."""
    cluster = mk_cluster_factory(instances=3, cpus=1, lease_s=LEASE_S, programs=ringers(range(3)))
    client = cluster.client
    start_ringing(client, range(3))
    wait_until_written(client, WRITES // 2)
    before = incarnations(client.cluster())
    epoch = kill_interconnect(client)
    while client.cluster().epoch == epoch:
        continue
    view = served_again(client, kill_interconnect(client))
    assert view.restarts == 2
    wait_until_written(client, 3 * WRITES)
    client.quiesce()
    assert incarnations(client.cluster()) == before
    written = written_by(client)
    assert [written[each] for each in range(3)] == [WRITES] * 3
    assert_mirrors(cluster)


def wait_until_calls_are_on_disk(cluster: Cluster, count: int) -> None:
    books = sqlite3.connect(f"file:{cluster.state_dir / BOOKS_FILE}?mode=ro", uri=True)
    while books.execute("SELECT COUNT(*) FROM calls").fetchone() != (count,):
        continue
    books.close()


def test_what_clients_wrote_that_called_once_is_in_their_names(mk_cluster_factory, assert_mirrors):
    """They never say that they have the answer, and everybody has it."""
    cluster = mk_cluster_factory(instances=2, cpus=1, lease_s=LEASE_S)
    client = cluster.client
    for _ in range(3):
        with Client(cluster.address) as once:
            assert once.inject(to=apic(1), count=2).all_arrived
    wait_until_calls_are_on_disk(cluster, 3)
    served_again(client, kill_interconnect(client))
    client.quiesce()
    rows = client.ledger().rows
    assert [(row.source.name, row.totals.written) for row in rows] == [("client", 2)] * 3
    assert len({row.source.identity for row in rows}) == 3
    assert_mirrors(cluster)


def test_a_stopped_instance_is_waited_for_no_longer_than_a_lease(mk_cluster_factory):
    cluster = mk_cluster_factory(instances=3, cpus=1)
    client = cluster.client
    stopped = client.find_instance(1)
    os.kill(stopped.pid, signal.SIGSTOP)
    epoch = kill_interconnect(client)
    while (view := client.cluster()).recovery is None or view.recovery.back < 2:
        assert view.epoch in (0, epoch) or view.recovery is not None, "it waits"
    assert view.recovery.expected == 3
    awaited = view.instances[1]
    assert (awaited.state, awaited.detail) == ("active", "has not come back yet")
    assert 0 < view.recovery.left_us <= 3_000_000
    # It waits for its turn, as all do that need an instance.
    assert client.inject(to=apic(2)).all_arrived
    view = client.cluster()
    assert view.recovery is None
    dead = client.find_instance(1)
    assert dead.state == "failed"
    assert "did not come back" in dead.detail
    os.kill(stopped.pid, signal.SIGCONT)
    while "exit code 7" not in client.find_instance(1).detail:
        continue
    assert client.exec_instance(1)


def test_an_order_under_way_ends_by_name_and_what_it_began_goes_on(mk_cluster, wait_for_state):
    client = mk_cluster.client
    client.kill_instance(1, force=True)
    ended: list[MkrpcError | int] = []

    def execute() -> None:
        with Client(mk_cluster.address) as other:
            try:
                ended.append(other.exec_instance(1))
            except MkrpcError as error:
                ended.append(error)

    log = mk_cluster.state_dir / "logs" / f"{client.find_instance(1).name}.log"
    size = log.stat().st_size
    thread = threading.Thread(target=execute)
    thread.start()
    view = client.cluster()
    while log.stat().st_size == size and thread.is_alive():
        continue  # until the new process says that it is attached: the order is not answered yet
    served_again(client, kill_interconnect(client))
    thread.join()
    (result,) = ended
    assert isinstance(result, UnavailableError | int)
    wait_for_state(client, 1, "active")
    assert client.find_instance(1).pid != view.instances[1].pid
    assert client.inject(to=apic(2)).all_arrived


def test_on_tcp_it_listens_at_the_port_that_was_chosen_before(mk_cluster_factory):
    cluster = mk_cluster_factory(address="127.0.0.1:0", lease_s=LEASE_S)
    client = cluster.client
    before = incarnations(client.cluster())
    view = served_again(client, kill_interconnect(client))
    assert view.address == cluster.address
    assert incarnations(view) == before
    assert client.inject(to=apic(2)).all_arrived


def test_who_watches_is_told_that_events_are_missing(mk_cluster):
    client = mk_cluster.client
    events = client.watch()
    kill_interconnect(client)
    batch = next(events)
    while not batch.gap:
        batch = next(events)
    assert batch.gap == "another interconnect serves"
    client.inject(to=apic(2))
    while not any(event.kind == "inject" for event in batch.events):
        batch = next(events)
    events.close()


def test_show_tells_how_often_and_the_command_line_waits(mk_cluster, shell):
    kill_interconnect(mk_cluster.client)
    line = shell(mk_cluster)
    done = line.run("ipi", "--to", "2", "--count", "3")
    assert done.returncode == 0, done.stderr
    assert line.json("show")["restarts"] == 1
    assert "restarts 1" in line.run("show").stdout
    assert line.json("show")["recovery"] is None


def test_one_that_dies_again_and_again_is_the_end_of_the_cluster(mk_cluster):
    """Loudly, as before: the host agent ends all, and says why."""
    client = mk_cluster.client
    for _ in range(MAX_RESTARTS):
        served_again(client, kill_interconnect(client))
    host = os.pidfd_open(mk_cluster.host_pid)
    kill_interconnect(client)
    os.waitid(os.P_PIDFD, host, os.WEXITED | os.WNOWAIT)
    os.close(host)
    with pytest.raises(UnavailableError):
        client.cluster()
    log = (mk_cluster.state_dir / "logs" / "host-agent.log").read_text()
    assert "dies again and again" in log
