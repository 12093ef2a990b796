"""Does to a cluster what a plan says, and sees to it that its victims come back."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import structlog

from mkrpc.chaos.evidence import Done
from mkrpc.chaos.links import Links
from mkrpc.chaos.lookout import Lookout, is_well
from mkrpc.chaos.plan import Fault
from mkrpc.client import Client, apic
from mkrpc.client.answers import ClusterView, InstanceState
from mkrpc.cluster import Cluster
from mkrpc.errors import MkrpcError, NotFoundError
from mkrpc.state_dir import members

__all__ = ["RECOVERY_TIMEOUT_S", "Nemesis"]

RECOVERY_TIMEOUT_S = 60.0
"""Seconds for all to be well again after a fault; on a machine with far too much to do."""

_AT_ONCE = 16
_LOOK_S = 0.5

_log = structlog.get_logger("mkrpc.chaos")


class Nemesis:
    """Faults in threads of their own, each until its victim is well again.

    ``over``: when set, faults that are under way are undone early.
    """

    def __init__(
        self,
        cluster: Cluster,
        links: Links,
        lookout: Lookout,
        *,
        tell: Callable[[str], None],
        over: threading.Event,
    ) -> None:
        self._cluster = cluster
        self._links = links
        self._lookout = lookout
        self._tell = tell
        self._over = over
        self._client = Client(cluster.address)
        self._pool = ThreadPoolExecutor(_AT_ONCE, "nemesis")
        self._began_s = time.monotonic()
        self._under_way: dict[int, Future[Done]] = {}
        self._busy: set[object] = set()
        self.done: list[Done] = []
        self.skipped: list[Fault] = []
        self.failures: list[str] = []

    @property
    def cluster_runs(self) -> bool:
        """Whether its host agent does, which ends it when nothing helps any more."""
        return self._cluster.host_pid in members(self._cluster.state_dir)

    def begin(self, fault: Fault) -> bool:
        """Do it, without waiting; False, and it counts as skipped, if its victim is not well."""
        victims = self._victims(fault)
        if victims & self._busy or not all(self._is_well(victim) for victim in victims):
            self.skipped.append(fault)
            self._tell(f"{fault.number}: skipped, its victim is not back yet: {fault.text}")
            return False
        self._busy |= victims
        self._tell(f"{fault.number}: {fault.text}")
        self._under_way[fault.number] = self._pool.submit(self._do, fault)
        return True

    def collect(self) -> None:
        """Take what has ended; a bug in here is raised."""
        for number, future in list(self._under_way.items()):
            if future.done():
                del self._under_way[number]
                done = future.result()
                self.done.append(done)
                self._busy -= self._victims(done.fault)

    def mend(self) -> None:
        """Start whoever has ended and is nobody's victim; that it had to be done is a finding of
        those who look for reasons."""
        view = self._view()
        if view.recovery is not None or "interconnect" in self._busy:
            return  # Who is not back yet may come back.
        for found in view.instances:
            if found.id not in self._busy and found.state is not InstanceState.ACTIVE:
                self._tell(f"instance {found.id} has ended, by no fault: {found.detail}")
                self._busy.add(found.id)
                self._pool.submit(self._mend, found.id)

    def _mend(self, instance_id: int) -> None:
        if not self.revive(instance_id):
            self.failures.append(f"instance {instance_id} does not come back")
        self._busy.discard(instance_id)

    def finish(self) -> None:
        """Wait for all that is under way; then nobody is under a fault any more."""
        while self._under_way:
            self.collect()
            time.sleep(_LOOK_S / 5)
        self._pool.shutdown()

    def close(self) -> None:
        """Close its connection."""
        self._client.close()

    def revive(self, instance_id: int, *, other_than: bytes = b"") -> bool:
        """Wait until an instance is well, in another incarnation if one is given, and start it
        whenever it has ended; False: in vain."""

        def is_back(view: ClusterView) -> bool:
            back = is_well(view, instance_id)
            return back and self._lookout.incarnation(instance_id) != other_than

        end_s = time.monotonic() + RECOVERY_TIMEOUT_S
        while time.monotonic() < end_s and self.cluster_runs:
            if self._lookout.wait(is_back, _LOOK_S):
                return True
            self._start_if_ended(instance_id)
        return False

    @staticmethod
    def _victims(fault: Fault) -> set[object]:
        victims: set[object] = set()
        if fault.instance_id is not None:
            victims.add(fault.instance_id)
        elif fault.kind == "link":
            victims.add("clients")
        return victims | {"interconnect"} if fault.hits_interconnect else victims

    def _is_well(self, victim: object) -> bool:
        view = self._lookout.view
        if view is None or not self._lookout.answers:
            return False
        return not isinstance(victim, int) or is_well(view, victim)

    def _do(self, fault: Fault) -> Done:
        began_s = time.monotonic()
        away_s = 0.0
        hit = frozenset[bytes]()
        before = self._incarnations()
        if fault.instance_id is not None:
            hit = frozenset({self._lookout.incarnation(fault.instance_id)})
        try:
            free_s, away_s = self._apply(fault)
            well = self._recovered(fault, hit)
        except NotFoundError as error:
            # It went by itself just before: whoever looks for reasons will find that.
            free_s, well = time.monotonic(), False
            self.failures.append(f"{fault.number}: {fault.text}: {error}")
        ended_s = time.monotonic()
        if not well:
            self.failures.append(
                f"{fault.number}: {fault.text}: not well {ended_s - free_s:.0f} s on"
            )
        return Done(
            fault,
            began_s - self._began_s,
            ended_s - self._began_s,
            hit,
            ended_s - free_s if well else None,
            away_s,
            before - self._incarnations() if fault.kind == "interconnect" else frozenset(),
        )

    def _apply(self, fault: Fault) -> tuple[float, float]:
        """Do it and undo it; since when nothing stands in the way any more, and how many seconds
        somebody was really silent."""
        victim = fault.instance_id
        match fault.kind:
            case "kill":
                self._signal(self._pid(victim), signal.SIGKILL)
                self._over.wait(fault.duration_s)
            case "stop":
                with self._held(self._pid(victim)) as descriptor:
                    signal.pidfd_send_signal(descriptor, signal.SIGSTOP)
                    stopped_s = time.monotonic()
                    self._over.wait(fault.duration_s)
                    signal.pidfd_send_signal(descriptor, signal.SIGCONT)
                return time.monotonic(), time.monotonic() - stopped_s
            case "link":
                assert fault.link is not None
                self._links.apply(victim, fault.link)
                began_s = time.monotonic()
                self._over.wait(fault.duration_s)
                self._links.heal(victim)
                silent = fault.link.how in ("cut", "half-open")
                return time.monotonic(), time.monotonic() - began_s if silent else 0.0
            case "interconnect":
                view = self._view()
                self._signal(self._pid(None), signal.SIGKILL)
                if victim is not None:
                    self._signal(self._pid(victim), signal.SIGKILL)
                killed_s = time.monotonic()
                self._await_another(view.epoch)
                away_s = time.monotonic() - killed_s
                if victim is None:
                    return killed_s, away_s
                self._over.wait(fault.duration_s)
                return time.monotonic(), away_s
        return time.monotonic(), 0.0

    def _recovered(self, fault: Fault, hit: frozenset[bytes]) -> bool:
        killed = fault.kind in ("kill", "interconnect")
        old = next(iter(hit), b"") if killed else b""
        if fault.instance_id is not None and not self.revive(fault.instance_id, other_than=old):
            return False
        return not fault.hits_interconnect or self._routes_again()

    def _await_another(self, epoch: int) -> None:
        end_s = time.monotonic() + RECOVERY_TIMEOUT_S
        while time.monotonic() < end_s and self.cluster_runs:
            if self._lookout.wait(lambda view: view.epoch != epoch, _LOOK_S):
                return

    def _routes_again(self) -> bool:
        """Whether an interrupt arrives at an instance that nothing is being done to.

        Whoever has not survived is started again; that it had to be is for others to find.
        """
        end_s = time.monotonic() + RECOVERY_TIMEOUT_S
        while time.monotonic() < end_s and self.cluster_runs:
            view = self._view()
            free = [found for found in view.instances if found.id not in self._busy]
            alive = [found for found in free if found.cpus]
            if not free or (alive and self._arrives(alive[0].cpus[0].apic_id)):
                return True
            for found in free:
                if view.recovery is None and found not in alive:
                    self._start_if_ended(found.id)
            time.sleep(_LOOK_S / 10)
        return False

    def _arrives(self, apic_id: int) -> bool:
        try:
            return self._client.inject(to=apic(apic_id)).all_arrived
        except MkrpcError as error:
            _log.debug("not yet", error=str(error))
            return False

    def _start_if_ended(self, instance_id: int) -> None:
        for found in self._view().instances:
            if found.id == instance_id and found.state is not InstanceState.ACTIVE:
                try:
                    self._client.exec_instance(instance_id, direct=True)
                except MkrpcError as error:
                    # It may be ending still, or the interconnect may be gone: the next look tells.
                    _log.info("not started", instance_id=instance_id, error=str(error))

    def _view(self) -> ClusterView:
        view = self._lookout.view
        assert view is not None, "faults begin once the cluster was seen"
        return view

    def _incarnations(self) -> frozenset[bytes]:
        """Those that run."""
        return frozenset(found.incarnation for found in self._view().instances if found.cpus)

    def _pid(self, instance_id: int | None) -> int:
        """Of an instance, or of the interconnect; 0 if it does not run."""
        view = self._view()
        if instance_id is None:
            return view.interconnect_pid
        return next((found.pid for found in view.instances if found.id == instance_id), 0)

    def _signal(self, pid: int, number: int) -> None:
        """To a process of this cluster and no other; NotFoundError if there is none."""
        with self._held(pid) as descriptor:
            signal.pidfd_send_signal(descriptor, number)

    @contextmanager
    def _held(self, pid: int) -> Iterator[int]:
        """A descriptor of a process of this cluster; NotFoundError if there is none."""
        try:
            descriptor = os.pidfd_open(pid) if pid > 0 else -1
        except ProcessLookupError:
            descriptor = -1
        try:
            # Looked up while the descriptor holds on to it: the number is nobody else's by now.
            if descriptor < 0 or pid not in members(self._cluster.state_dir):
                raise NotFoundError(f"process {pid} is gone")
            yield descriptor
        except ProcessLookupError as error:
            raise NotFoundError(f"process {pid} is gone") from error
        finally:
            if descriptor >= 0:
                os.close(descriptor)
