"""The clients of a run: one for each instance, which grants its CPUs their writes.

Each waits for the outcome of what it sent before it goes on, so that an instance that hangs holds
up its own client alone.
"""

import threading
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

import structlog

from mkrpc.chaos.evidence import ClientTally
from mkrpc.chaos.tables import Vectors
from mkrpc.client import Client, apic
from mkrpc.errors import MkrpcError
from mkrpc.topology import InstanceSpec, Topology

__all__ = ["GRANTS_PER_S", "Injectors"]

GRANTS_PER_S = 4.0
"""Interrupts that each CPU gets from its client, a second."""

_JOIN_TIMEOUT_S = 30.0
_PAUSE_AFTER_ERROR_S = 0.2

_log = structlog.get_logger("mkrpc.chaos")


class Injectors:
    """Clients in threads of their own, from entry to exit; :meth:`stop` ends them earlier.

    They take turns with the ``addresses``.
    """

    def __init__(self, addresses: Sequence[str], topology: Topology) -> None:
        self._vector = Vectors(len(topology.apic_ids)).client
        self._over = threading.Event()
        self.tallies: list[ClientTally] = []
        self._threads = [
            threading.Thread(
                target=self._run,
                args=(spec, addresses[number % len(addresses)]),
                name=f"client {spec.name}",
            )
            for number, spec in enumerate(topology.instances)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Begin no more calls, and wait for those under way."""
        self._over.set()
        for thread in self._threads:
            thread.join(_JOIN_TIMEOUT_S)

    @property
    def legs(self) -> int:
        """Legs of the clients that have their outcome."""
        return sum(tally.legs.total() for tally in self.tallies)

    def _run(self, spec: InstanceSpec, address: str) -> None:
        with Client(address) as client:
            tally = ClientTally(client.client_id)
            self.tallies.append(tally)
            pause_s = 1 / GRANTS_PER_S
            due_s = time.monotonic()
            while not self._over.wait(max(0.0, due_s - time.monotonic())):
                due_s = max(due_s + pause_s, time.monotonic())
                for apic_id in spec.cpus:
                    self._ring(client, apic_id, tally)

    def _ring(self, client: Client, apic_id: int, tally: ClientTally) -> None:
        tally.calls += 1
        try:
            result = client.inject(to=apic(apic_id), vector=self._vector)
        except MkrpcError as error:
            _log.info("a client had no answer", apic_id=apic_id, error=str(error))
            tally.errors[error.reason] += 1
            self._over.wait(_PAUSE_AFTER_ERROR_S)
            return
        for leg in result.legs:
            tally.legs[leg.outcome] += leg.count
