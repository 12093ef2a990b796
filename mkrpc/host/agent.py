"""Starts, watches and stops the processes of one cluster on one host.

Nothing here imports gRPC: forking a process that has used it is unsafe, so the fork server starts
before this process has.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import multiprocess
import structlog

from mkrpc.errors import MkrpcError, StartUpError, error_for_reason
from mkrpc.host.children import START_TIMEOUT_S, run_instance, run_interconnect
from mkrpc.topology import Topology

__all__ = ["PRELOAD", "Child", "HostAgent"]

STOP_GRACE_S = 5.0
"""Seconds between SIGTERM and SIGKILL."""

PRELOAD = ["mkrpc.instance.kernel", "mkrpc.topology", "mkrpc.host.children", "structlog"]
"""What the fork server imports once for every child: pure rooms only, no gRPC."""

_log = structlog.get_logger("mkrpc.host")


@dataclass(slots=True)
class Child:
    """A process that this agent started. ``exit_code`` is None while it runs."""

    name: str
    process: Any
    exit_code: int | None = None

    @property
    def pid(self) -> int:
        return int(self.process.pid)


class HostAgent:
    """Starts, watches and stops the processes of one cluster on one host."""

    def __init__(self, state_dir: Path) -> None:
        self.state_dir = state_dir
        config = json.loads((state_dir / "config.json").read_text())
        self.topology = Topology.from_dict(config["topology"])
        self.address: str = config["address"]
        self.insecure: bool = config["insecure"]
        self._context = multiprocess.get_context("forkserver")
        self._context.set_forkserver_preload(PRELOAD)
        self.interconnect: Child | None = None
        self.instances: dict[int, Child] = {}

    def start(self) -> None:
        """Start everything; raises what kept a process from starting."""
        self._say(progress="starting the interconnect")
        child, ready = self._spawn(
            "interconnect",
            run_interconnect,
            {
                "address": self.address,
                "insecure": self.insecure,
                "policy": self.topology.policy,
                "name": self.state_dir.name,
            },
        )
        self.interconnect = child
        self.address = str(self._wait(child, ready)["address"])
        waiting = []
        for instance in self.topology.instances:
            waiting.append(self._spawn_instance(instance.id))
        for number, (child, ready) in enumerate(waiting, 1):
            self._wait(child, ready)
            self._say(progress=f"{number} of {len(waiting)} instances attached")

    def start_instance(self, instance_id: int) -> Child:
        """Start the process of an instance and wait until it is attached."""
        child, ready = self._spawn_instance(instance_id)
        self._wait(child, ready)
        return child

    def stop(self) -> None:
        """End the instances, then the interconnect: SIGTERM, and SIGKILL after a grace."""
        _end([child for child in self.instances.values() if child.exit_code is None])
        if self.interconnect is not None and self.interconnect.exit_code is None:
            _end([self.interconnect])

    def ready(self) -> None:
        """The interconnect takes orders for this agent: tell the launcher, let go of its pipe."""
        record = {"name": self.state_dir.name, "address": self.address, "host_pid": os.getpid()}
        temporary = self.state_dir / "cluster.json.new"
        temporary.write_text(json.dumps(record))
        temporary.rename(self.state_dir / "cluster.json")
        self._say(ready=self.address)
        os.dup2(2, 1)

    def failed(self, error: MkrpcError) -> None:
        """Tell the launcher why nothing came of it."""
        self._say(error=str(error), reason=error.reason, advice=error.advice)

    def _spawn_instance(self, instance_id: int) -> tuple[Child, Any]:
        spec = self.topology.instance(instance_id)
        options = {
            "address": self.address,
            "topology": self.topology.to_dict(),
            "instance_id": instance_id,
            "state_dir": str(self.state_dir),
        }
        child, ready = self._spawn(spec.name, run_instance, options)
        self.instances[instance_id] = child
        return child, ready

    def _spawn(self, name: str, target: Any, options: dict[str, Any]) -> tuple[Child, Any]:
        receiver, sender = self._context.Pipe(duplex=False)
        log_path = self.state_dir / "logs" / f"{name}.log"
        process = self._context.Process(
            target=target, args=(json.dumps(options), str(log_path), sender), name=name
        )
        process.start()
        sender.close()
        return Child(name, process), receiver

    def _wait(self, child: Child, ready: Any) -> dict[str, Any]:
        """The first message of a child: bytes of JSON, never a pickle."""
        log_path = self.state_dir / "logs" / f"{child.name}.log"
        try:
            if not ready.poll(START_TIMEOUT_S):
                raise StartUpError(
                    f"{child.name} did not report within {START_TIMEOUT_S:.0f} s",
                    advice=f"read {log_path}",
                )
            answer: dict[str, Any] = json.loads(ready.recv_bytes())
        except EOFError:
            child.process.join(STOP_GRACE_S)
            raise StartUpError(
                f"{child.name} ended before it was ready (exit code {child.process.exitcode})",
                advice=f"read {log_path}",
            ) from None
        finally:
            ready.close()
        if "error" in answer:
            raise error_for_reason(answer["reason"])(
                f"{child.name}: {answer['error']}", advice=answer["advice"]
            )
        return answer

    @staticmethod
    def _say(**message: Any) -> None:
        try:
            print(json.dumps(message), flush=True)
        except BrokenPipeError:
            _log.warning("the launcher has gone away", message=message)


def _end(children: list[Child]) -> None:
    for child in children:
        child.process.terminate()
    for child in children:
        child.process.join(STOP_GRACE_S)
        if child.process.exitcode is None:
            _log.warning("killed: it did not end when asked", child=child.name)
            child.process.kill()
            child.process.join()
