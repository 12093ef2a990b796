"""Looks at a cluster again and again, and remembers who was there."""

import os
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

import structlog

from mkrpc.chaos.evidence import Sample
from mkrpc.client import Client
from mkrpc.client.answers import ClusterView, InstanceState
from mkrpc.errors import MkrpcError

__all__ = ["Lookout", "is_well", "sample_of"]

PERIOD_S = 0.1
"""Seconds between two looks."""
_SAMPLE_EVERY_S = 2.0
_CALL_TIMEOUT_S = 2.0
_JOIN_TIMEOUT_S = 10.0

_log = structlog.get_logger("mkrpc.chaos")


def is_well(view: ClusterView, instance_id: int) -> bool:
    """Whether an instance runs, and nothing is wrong with its link."""
    for found in view.instances:
        if found.id == instance_id:
            return found.state is InstanceState.ACTIVE and not found.detail
    return False


class Lookout:
    """A thread that asks for the cluster, and takes samples of the interconnect's process."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lookout")
        self._seen = threading.Condition()
        self.view: ClusterView | None = None
        self.answers = False
        self.incarnations: dict[int, list[bytes]] = {}
        """By instance id, those that were seen, in order."""
        self.epochs: list[int] = []
        """Lives of the interconnect that were seen, in order."""
        self.samples: list[Sample] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join(_JOIN_TIMEOUT_S)

    def wait(self, condition: Callable[[ClusterView], bool], timeout_s: float) -> bool:
        """Until a look that begins after this call shows what is wanted; False if none does."""
        end_s = time.monotonic() + timeout_s
        with self._seen:
            before = self.view
            while True:
                view = self.view
                if self.answers and view is not None and view is not before and condition(view):
                    return True
                left_s = end_s - time.monotonic()
                if left_s <= 0:
                    return False
                self._seen.wait(min(left_s, 2 * PERIOD_S))

    def incarnation(self, instance_id: int) -> bytes:
        """Of an instance, the last that was seen; empty if none was."""
        seen = self.incarnations.get(instance_id)
        return seen[-1] if seen else b""

    def _run(self) -> None:
        with Client(self._address, timeout_s=_CALL_TIMEOUT_S) as client:
            sample_s = 0.0
            while not self._over.wait(PERIOD_S):
                try:
                    view = client.cluster()
                except MkrpcError as error:
                    if self.answers:
                        _log.info("nobody answers", error=str(error))
                    self.answers = False
                    continue
                self._see(view)
                if time.monotonic() >= sample_s:
                    sample_s = time.monotonic() + _SAMPLE_EVERY_S
                    self.samples += sample_of(view.interconnect_pid)

    def _see(self, view: ClusterView) -> None:
        with self._seen:
            for found in view.instances:
                seen = self.incarnations.setdefault(found.id, [])
                if found.incarnation and found.incarnation not in seen:
                    seen.append(found.incarnation)
            if not self.epochs or self.epochs[-1] != view.epoch:
                self.epochs.append(view.epoch)
            self.view, self.answers = view, True
            self._seen.notify_all()


def sample_of(pid: int) -> list[Sample]:
    """What a process holds now; nothing if it has ended, or is none of ours."""
    try:
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as status:
            lines = dict(line.split(":", 1) for line in status if ":" in line)
        descriptors = len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return []
    resident_kib = int(lines.get("VmRSS", "0").split()[0])
    return [Sample(pid, resident_kib, descriptors, int(lines["Threads"]))]
