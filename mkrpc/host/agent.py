"""Starts, watches and stops the processes of one cluster on one host.

Nothing here imports gRPC, so this process has none of its threads while it starts the others. They
are forked from a fork server that has imported all that they need (:mod:`mkrpc.host.preload`).
"""

import json
import os
import select
import threading
from pathlib import Path
from typing import Any

import multiprocess
import structlog

from mkrpc.errors import LimitReachedError, MkrpcError, StartUpError, error_for_reason
from mkrpc.host.child import STOP_GRACE_S, Child, end, last_words
from mkrpc.host.children import (
    BEGIN,
    MEMORY_FILE,
    PROGRAMS_FILE,
    START_TIMEOUT_S,
    run_instance,
    run_interconnect,
)
from mkrpc.host.fork_server import FORK_SERVER, PRELOAD
from mkrpc.host.hello import check_start
from mkrpc.host.kept import KeptInstances
from mkrpc.host.old_logs import OldLogs
from mkrpc.instance.config import kernel_config
from mkrpc.lifecycle import describe_end
from mkrpc.state_dir import BOOKS_FILE, CONFIG_FILE, RECORD_FILE
from mkrpc.topology import Topology
from mkrpc.transport.descriptors import left, raise_limit

__all__ = ["HostAgent"]

DESCRIPTORS_PER_INSTANCE = 6
"""Open files of this process for each instance that starts or runs: two pipes, and its pidfd twice
once it is watched."""
OTHER_DESCRIPTORS = 64
DESCRIPTORS_KEPT = 32
"""Files that stay free for what must not fail: another interconnect, and starts under way."""

_ULIMIT = "raise the limit of open files (ulimit -n) before `mkrpc up`, or end instances"

STDOUT = 1
"""Where the launcher listens until this agent is ready."""

_log = structlog.get_logger("mkrpc.host")


class HostAgent:
    """Starts, watches and stops the processes of one cluster on one host."""

    def __init__(self, state_dir: Path) -> None:
        self.state_dir = state_dir
        config = json.loads((state_dir / CONFIG_FILE).read_text())
        self.topology = Topology.from_dict(config["topology"])
        self.address: str = config["address"]
        self.insecure: bool = config["insecure"]
        self.kept = KeptInstances(
            self.topology, {int(key): count for key, count in config.get("scripted", {}).items()}
        )
        self.old_logs = OldLogs(state_dir / "logs")
        self._transport = ""
        self._via: dict[str, dict[str, str]] = config.get("via", {})
        self.record: dict[str, Any] | None = config.get("record")
        self._context = multiprocess.get_context(config.get("start_method", FORK_SERVER))
        self._context.set_forkserver_preload(PRELOAD)
        self.interconnect: Child | None = None
        self.instances: dict[int, Child] = {}
        self.starting: set[int] = set()
        self._spare: tuple[Child, Any] | None = None
        self._spare_lock = threading.Lock()
        self.is_ready = False
        self.stopping = False
        self._wake, self._wake_write = os.pipe()

    def start(self) -> None:
        """Start everything; raises what kept a process from starting.

        Also :class:`StartUpError` if the launcher goes away, or after :meth:`interrupt`.
        """
        self._check_descriptors()
        check_start(self)
        self._say(progress="starting the interconnect")
        self.start_interconnect()
        waiting = []
        self._say(progress=f"starting {len(self.topology.instances)} instances")
        for instance in self.topology.instances:
            waiting.append(self._spawn_instance(instance.id))
        for number, (child, ready) in enumerate(waiting, 1):
            self._wait(child, ready)
            self._say(progress=f"{number} of {len(waiting)} instances attached")
        self.check_alive()

    def _check_descriptors(self) -> None:
        """Raise the limit of open files for this process and its children, and refuse by name."""
        instances = len(self.topology.instances)
        wanted, room = OTHER_DESCRIPTORS + DESCRIPTORS_PER_INSTANCE * instances, raise_limit()
        if room < wanted:
            raise LimitReachedError(
                f"{instances} instances take {wanted} open files, and {room} are allowed",
                advice="raise the limit (ulimit -n), or start fewer instances",
            )

    def start_interconnect(self) -> Child:
        """Start the interconnect, or another one at the same address, and wait until it listens.

        :class:`StartUpError` or the interconnect's own error if it does not come to that: then its
        process is ended.
        """
        child, ready = self._take_spare() or self._spawn_interconnect(spare=False)
        self.interconnect = child
        try:
            answer = self._wait(child, ready)
            self.address, self._transport = str(answer["address"]), str(answer["transport"])
        except MkrpcError:
            end([child], grace_s=0.0 if self.stopping else STOP_GRACE_S)
            raise
        return child

    def prepare_spare(self) -> None:
        """Start a process that has nothing left to load when an interconnect is wanted.

        What is loaded costs it a second or more on a machine with much to do, of the three for
        which instances hold out. Nothing happens if there is one, or if this agent stops.
        """
        with self._spare_lock:
            if self._spare is None and not self.stopping:
                self._spare = self._spawn_interconnect(spare=True)

    def _take_spare(self) -> tuple[Child, Any] | None:
        with self._spare_lock:
            spare, self._spare = self._spare, None
        if spare is None:
            return None
        child, ready = spare
        try:
            ready.send_bytes(BEGIN)
        except OSError:
            _log.warning("the spare interconnect was gone", pid=child.pid)
            ready.close()
            end([child], grace_s=0.0)
            return None
        return spare

    def _spawn_interconnect(self, *, spare: bool) -> tuple[Child, Any]:
        options = {
            # Where the first one listened: with the port that was chosen for it.
            "address": self.address,
            "insecure": self.insecure,
            "policy": self.topology.policy,
            "rates": self.topology.rates(),
            "faults": self.topology.injected(),
            "arbitration": self.topology.arbitration,
            "apic": self.topology.apic.switches(),
            "switches": {
                spec.id: spec.switches(self.topology.apic) for spec in self.topology.instances
            },
            "lease": (self.topology.lease_s, len(self.topology.instances)),
            "name": self.state_dir.name,
            "books": str(self.state_dir / BOOKS_FILE),
            "record": self.record,
            "spare": spare,
        }
        return self._spawn("interconnect", run_interconnect, options)

    def check_alive(self) -> None:
        """:class:`StartUpError`, which says why, if a process has ended since it was ready."""
        for instance_id, child in self.instances.items():
            if child.wait(0) is not None:
                raise _ended(f"instance {instance_id} ({child.name})", child)
        if self.interconnect is not None and self.interconnect.wait(0) is not None:
            raise _ended("the interconnect", self.interconnect)

    def interrupt(self, *_signal: object) -> None:
        """Have whoever waits for a child to start give up; also a handler of signals."""
        if not self.stopping:
            self.stopping = True
            os.write(self._wake_write, b"!")

    def start_instance(
        self, instance_id: int, *, wait_for_sipi: bool = False, apic_id: int | None = None
    ) -> Child:
        """Start the process of an instance and wait until it is attached.

        ``wait_for_sipi``: with CPUs that do so, and ``apic_id``, if given, the one to boot on.
        :class:`StartUpError` or the instance's own error if it does not come to that: then its
        process is ended. :class:`LimitReachedError` where there are too few descriptors.
        """
        if (room := left()) < DESCRIPTORS_KEPT:
            raise LimitReachedError(
                f"the host agent may open {max(room, 0)} more files, and keeps {DESCRIPTORS_KEPT}",
                advice=_ULIMIT,
            )
        child, ready = self._spawn_instance(
            instance_id, wait_for_sipi=wait_for_sipi, apic_id=apic_id
        )
        try:
            self._wait(child, ready)
        except MkrpcError:
            end([child], grace_s=0.0 if self.stopping else STOP_GRACE_S)
            raise
        return child

    def stop(self) -> None:
        """End the instances, then the interconnect: SIGTERM, and SIGKILL after a grace.

        Takes twice :data:`STOP_GRACE_S` at most if processes hang, whatever their number.
        """
        with self._spare_lock:
            self.stopping = True
            spare, self._spare = self._spare, None
        end(list(self.instances.values()), grace_s=STOP_GRACE_S)
        last = [self.interconnect, spare[0] if spare is not None else None]
        end([child for child in last if child is not None], grace_s=STOP_GRACE_S)

    def ready(self) -> None:
        """The interconnect takes orders for this agent: tell the launcher, let go of its pipe.

        :class:`StartUpError` if a process has ended by now, or the launcher has gone away.
        """
        self.check_alive()
        record = {"name": self.state_dir.name, "address": self.address, "host_pid": os.getpid()}
        temporary = self.state_dir / f"{RECORD_FILE}.new"
        temporary.write_text(json.dumps(record))
        temporary.rename(self.state_dir / RECORD_FILE)
        self._say(ready=self.address)
        os.dup2(2, STDOUT)
        self.is_ready = True

    def failed(self, error: MkrpcError) -> None:
        """Tell the launcher why nothing came of it."""
        _log.error("failed to start", error=str(error), advice=error.advice)
        try:
            self._say(error=str(error), reason=error.reason, advice=error.advice)
        except StartUpError as gone:
            _log.warning("nobody to tell", error=str(gone))

    def _spawn_instance(
        self, instance_id: int, *, wait_for_sipi: bool = False, apic_id: int | None = None
    ) -> tuple[Child, Any]:
        topology = self.kept.machine(instance_id, apic_id)
        spec = topology.instance(instance_id)
        via = self._via.get(str(instance_id), {})
        callables = self.state_dir / PROGRAMS_FILE
        scripted = callables.exists() and self.kept.runs_callables(instance_id)
        options = {
            "address": via.get("address", self.address),
            "beats": via.get("beats"),
            "transport": self._transport,
            # Validated once, here: it would cost each of them a millisecond and a MiB.
            "config": kernel_config(topology, instance_id, wait_for_sipi=wait_for_sipi),
            "programs": [(program.cpu, program.entry) for program in spec.programs],
            "handlers": spec.handlers,
            "memory": str(self.state_dir / MEMORY_FILE),
            "callables": str(callables) if scripted else None,
            "record": self.record,
        }
        child, ready = self._spawn(spec.name, run_instance, options)
        self.instances[instance_id] = child
        return child, ready

    def _spawn(self, name: str, target: Any, options: dict[str, Any]) -> tuple[Child, Any]:
        try:
            receiver, sender = self._context.Pipe()
        except OSError as error:
            raise StartUpError(f"cannot start {name}: {error}", advice=_ULIMIT) from error
        log_path = self.state_dir / "logs" / f"{name}.log"
        process = self._context.Process(
            target=target, args=(options, str(log_path), sender), name=name
        )
        try:
            process.start()
        except (OSError, EOFError) as error:
            receiver.close()
            raise StartUpError(
                f"cannot start {name}: the fork server failed ({error})",
                advice="try again: a fork server that died is started anew; if that does not help, "
                "there may be no room for more processes (ulimit -u) or memory",
            ) from error
        finally:
            sender.close()
        return Child.of(name, process, log_path), receiver

    def _wait(self, child: Child, ready: Any) -> dict[str, Any]:
        """The first message of a child: bytes of JSON, never a pickle."""
        try:
            self._await_message(child, ready)
            answer: dict[str, Any] = json.loads(ready.recv_bytes())
        except EOFError:
            code = child.wait(STOP_GRACE_S)
            how = "its process goes on without a word" if code is None else describe_end(code)
            raise StartUpError(
                f"{child.name} ended before it was ready ({how})",
                advice=f"its log ends: {last_words(child.log_path)}",
            ) from None
        finally:
            ready.close()
        if "error" in answer:
            raise error_for_reason(answer["reason"])(
                f"{child.name}: {answer['error']}", advice=answer["advice"]
            )
        return answer

    def _await_message(self, child: Child, ready: Any) -> None:
        """Return once the child has spoken or ended; nobody waits for it in vain."""
        poll = select.poll()
        poll.register(ready.fileno(), select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        if not self.is_ready:
            # No event asked for: an error is told anyway, here that nobody reads any longer.
            poll.register(STDOUT, 0)
        happened = dict(poll.poll(START_TIMEOUT_S * 1000))
        if ready.fileno() in happened:
            return
        if self._wake in happened:
            raise StartUpError(f"asked to stop while {child.name} was starting")
        if STDOUT in happened:
            raise _launcher_gone()
        raise StartUpError(
            f"{child.name} did not report within {START_TIMEOUT_S:.0f} s",
            advice=f"its log ends: {last_words(child.log_path)}",
        )

    @staticmethod
    def _say(**message: Any) -> None:
        """One line to the launcher; :class:`StartUpError` if it has gone away."""
        line = f"{json.dumps(message)}\n".encode()
        try:
            while line:
                line = line[os.write(STDOUT, line) :]
        except BrokenPipeError:
            raise _launcher_gone() from None


def _launcher_gone() -> StartUpError:
    return StartUpError("whoever started this cluster went away before it was up")


def _ended(who: str, child: Child) -> StartUpError:
    assert child.exit_code is not None
    how = describe_end(child.exit_code)
    return StartUpError(
        f"{who} ended during start-up, {how}: {last_words(child.log_path)}",
        advice="nothing was left running; mend what it runs, then start the cluster again",
    )
