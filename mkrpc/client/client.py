"""A synchronous, typed client of a cluster's Control service.

::

    with Client("unix:/run/user/1000/mkrpc/default/interconnect.sock") as client:
        result = client.inject(to=apic(2), count=1000)
        assert result.all_arrived

Every failure is a class of :mod:`mkrpc.errors`; what became of an interrupt is data. A client may
be used by several threads.
"""

import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

import grpc

from mkrpc.client.answers import (
    Accounts,
    ClusterView,
    CpuAnswer,
    EventBatch,
    InstanceView,
    IpiResult,
    Log,
    LogRecord,
)
from mkrpc.client.books import Ledger
from mkrpc.client.destination import (
    Destination,
    Ipi,
    apic,
    check_apic_id,
    icr,
    instance,
    logical,
    shorthand,
)
from mkrpc.client.injection_numbers import InjectionNumbers
from mkrpc.errors import (
    InvalidArgumentError,
    LimitReachedError,
    MkrpcError,
    NotFoundError,
    UnavailableError,
)
from mkrpc.link.frames import CpuView
from mkrpc.transport.address import parse
from mkrpc.transport.status import error_of
from mkrpc.v1 import control_pb2 as pb
from mkrpc.v1 import control_pb2_grpc

__all__ = [
    "CONNECT_TIMEOUT_S",
    "MAX_RECEIVE_BYTES",
    "MAX_RETRIES",
    "Client",
    "apic",
    "icr",
    "instance",
    "logical",
    "shorthand",
]

MAX_RECEIVE_BYTES = 16 << 20
"""The largest answer a client takes; beyond it, FrameTooLargeError."""
CONNECT_TIMEOUT_S = 3.0
"""Seconds to wait for somebody to serve the address."""
MAX_RETRIES = 3
"""Repetitions of an injection whose connection broke."""
MAX_LOG_PAGES = 256
"""Answers that one reading of a log may take."""

_ControlStub: Any = control_pb2_grpc.ControlStub  # generated without types
_BACKOFF_S = 0.1
_WRITE_ALLOWANCE_S = 0.001
_CHANNEL_OPTIONS = (
    ("grpc.max_receive_message_length", MAX_RECEIVE_BYTES),
    # Retries are ours alone: they must repeat the same sequence numbers.
    ("grpc.enable_retries", 0),
    # Each client has a connection of its own, so that close() means what it says.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.enable_http_proxy", 0),
)


class Client:
    """A connection to one cluster.

    ``address``: ``unix:/path`` or ``host:port``. ``client_id``: 16 bytes that name this client to
    the interconnect, random if not given; whoever gives the id of an earlier client repeats that
    client's injections, which then do not happen again. ``timeout_s``: seconds that a call may
    take; injections get another millisecond for every write.

    Raises InvalidArgumentError for a malformed address or id, UnavailableError if nobody serves the
    address within ``connect_timeout_s``. Every method may raise UnavailableError,
    DeadlineExceededError (it may still happen) and what the service answers.
    """

    def __init__(
        self,
        address: str,
        *,
        client_id: bytes | None = None,
        timeout_s: float = 10.0,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
    ) -> None:
        if client_id is not None and len(client_id) != 16:
            raise InvalidArgumentError(
                f"a client id has 16 bytes, not {len(client_id)}", advice="use os.urandom(16)"
            )
        self.address = address
        self.client_id = client_id or os.urandom(16)
        self.timeout_s = timeout_s
        self._numbers = InjectionNumbers()
        self._channel = grpc.insecure_channel(parse(address).connect_target, _CHANNEL_OPTIONS)
        self._stub: Any = _ControlStub(self._channel)
        self._await_server(connect_timeout_s)

    def close(self) -> None:
        """Close the connection; the cluster goes on."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def cluster(self) -> ClusterView:
        """Every instance with its CPUs, as last reported."""
        return ClusterView.of(self._call(self._stub.GetCluster, pb.GetClusterRequest()))

    def find_instance(self, which: int | str) -> InstanceView:
        """One instance by id or name; NotFoundError names those that there are."""
        instances = self.cluster().instances
        for found in instances:
            if which in (found.id, found.name):
                return found
        known = ", ".join(f"{i.id} ({i.name})" for i in instances[:16])
        raise NotFoundError(f"no instance {which} at {self.address}", advice=f"there are: {known}")

    def inject(
        self,
        *,
        to: Destination,
        vector: int | None = None,
        count: int = 1,
        delivery_mode: str | None = None,
    ) -> IpiResult:
        """Send IPIs as an external agent; returns when every leg has its outcome.

        Arguments as for :class:`mkrpc.client.destination.Ipi`: vector 0xEA and mode ``fixed`` if
        not given. If the connection breaks, the call is repeated up to :data:`MAX_RETRIES` times
        after 0.1, 0.2 and 0.4 s, each shortened by up to half at random, with the same sequence
        numbers, so that it happens once (design 3.3, rule 6).

        Raises InvalidArgumentError, also for ``self`` and ``others``, which need an APIC;
        LimitReachedError once the ends of 1024 earlier injections are unknown.
        """
        ipi = Ipi(to=to, vector=vector, delivery_mode=delivery_mode, count=count)
        if to.needs_an_apic:
            raise InvalidArgumentError(
                f"an external agent has no APIC of its own: {to.value!r} means nothing to it",
                advice="let a CPU write its ICR (--from APIC_ID), or send to all",
            )
        first, resolved_below = self._numbers.take(count)
        request = pb.InjectRequest(
            **ipi.fields(),
            client_id=self.client_id,
            first_seq=first,
            resolved_below=resolved_below,
        )
        try:
            answer = self._insist(self._stub.Inject, request, writes=count)
        except MkrpcError as error:
            if error.certainly_did_not_happen:
                self._numbers.resolve(first)
            raise
        self._numbers.resolve(first)
        return IpiResult.of(answer)

    def write_icr(
        self,
        from_apic_id: int,
        *,
        to: Destination,
        vector: int | None = None,
        count: int = 1,
        delivery_mode: str | None = None,
    ) -> IpiResult:
        """Let a CPU write its ICR ``count`` times; returns when every leg has its outcome.

        Arguments as for :meth:`inject`. Never repeated by itself: after UnavailableError or
        DeadlineExceededError it may have happened. NotFoundError if no such CPU is attached.
        """
        ipi = Ipi(to=to, vector=vector, delivery_mode=delivery_mode, count=count)
        request = pb.WriteIcrRequest(apic_id=check_apic_id(from_apic_id), **ipi.fields())
        return IpiResult.of(self._call(self._stub.WriteIcr, request, writes=count))

    def cpu(self, apic_id: int) -> CpuAnswer:
        """All registers of a CPU, asked of its instance; NotFoundError if none has it."""
        request = pb.GetCpuRequest(apic_id=check_apic_id(apic_id))
        return CpuAnswer.of(self._call(self._stub.GetCpu, request))

    def set_cpu(
        self,
        apic_id: int,
        *,
        interrupts_enabled: bool | None = None,
        halt: bool | None = None,
        tpr: int | None = None,
    ) -> CpuView:
        """Set IF, halt or wake, or set the TPR (0 to 255) of a CPU; returns it as it is then."""
        if interrupts_enabled is None and halt is None and tpr is None:
            raise InvalidArgumentError("nothing to set", advice="name IF, halt or TPR")
        if tpr is not None and not 0 <= tpr <= 0xFF:
            raise InvalidArgumentError(f"TPR {tpr:#x} is not 8 bits", advice="give 0 to 0xff")
        request = pb.SetCpuRequest(
            apic_id=check_apic_id(apic_id),
            interrupts_enabled=interrupts_enabled,
            halt=halt,
            tpr=tpr,
        )
        return CpuAnswer.of(self._call(self._stub.SetCpu, request)).view

    def accounts(self, instance_id: int, *, from_instance: bool = False) -> Accounts:
        """The mirror's accounting of an instance and, on request, the instance's own."""
        request = pb.GetAccountsRequest(instance_id=instance_id, from_instance=from_instance)
        return Accounts.of(self._call(self._stub.GetAccounts, request))

    def ledger(self, *, totals_only: bool = False) -> Ledger:
        """The books of legs and outcomes."""
        request = pb.GetLedgerRequest(totals_only=totals_only)
        return Ledger.of(self._call(self._stub.GetLedger, request))

    def log(self, instance_id: int, *, since: int = 0) -> Log:
        """The printk ring from record number ``since`` on, in as many calls as it takes.

        LimitReachedError if it grows faster than :data:`MAX_LOG_PAGES` answers can tell.
        """
        records: list[LogRecord] = []
        for _ in range(MAX_LOG_PAGES):
            request = pb.GetLogRequest(instance_id=instance_id, since=since)
            page = self._call(self._stub.GetLog, request)
            if not page.records:
                return Log(records=tuple(records), dropped=page.dropped)
            records.extend(LogRecord.of(record) for record in page.records)
            since = records[-1].number + 1
        raise LimitReachedError(
            f"the log of instance {instance_id} did not end within {MAX_LOG_PAGES} answers",
            advice="read it in parts, with `since`",
        )

    def proc(self, instance_id: int, path: str) -> str:
        """A file of an instance's /proc: ``interrupts`` or ``stat``."""
        request = pb.GetProcRequest(instance_id=instance_id, path=path)
        return str(self._call(self._stub.GetProc, request).text)

    def interrupts(self, instance_id: int) -> str:
        """/proc/interrupts of an instance."""
        return self.proc(instance_id, "interrupts")

    def watch(self) -> Iterator[EventBatch]:
        """Events as they happen, without end; closing the iterator ends the stream."""
        stream = self._stub.Watch(pb.WatchRequest())
        try:
            for message in stream:
                yield EventBatch.of(message)
        except grpc.RpcError as error:
            raise self._typed(error) from None
        finally:
            stream.cancel()

    def quiesce(self) -> int:
        """Wait until nothing is in flight and all is reported; returns the rounds it took."""
        return int(self._call(self._stub.Quiesce, pb.QuiesceRequest()).rounds)

    def exec_instance(self, instance_id: int) -> int:
        """Start an instance that does not run: a new incarnation. Returns its process id."""
        request = pb.ExecInstanceRequest(instance_id=instance_id)
        return int(self._call(self._stub.ExecInstance, request).pid)

    def kill_instance(self, instance_id: int, *, force: bool = False) -> int:
        """End an instance's process, by SIGKILL if ``force``; returns its exit code."""
        request = pb.KillInstanceRequest(instance_id=instance_id, force=force)
        return int(self._call(self._stub.KillInstance, request).exit_code)

    def shutdown(self) -> None:
        """Stop the whole cluster."""
        self._call(self._stub.Shutdown, pb.ShutdownRequest())

    def _await_server(self, timeout_s: float) -> None:
        """Wait until somebody answers, whatever they say to a health check.

        A channel's own notice of being ready comes up to 0.2 s late in grpcio.
        """
        check: Any = self._channel.unary_unary("/grpc.health.v1.Health/Check")
        try:
            check(b"", timeout=timeout_s, wait_for_ready=True)
        except grpc.RpcError as error:
            call: Any = error
            silent = (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNAVAILABLE)
            if call.code() in silent:
                self._channel.close()
                raise UnavailableError(
                    f"nobody answers at {self.address}", advice="start a cluster with `mkrpc up`"
                ) from None

    def _call(self, method: Callable[..., Any], request: object, *, writes: int = 0) -> Any:
        try:
            return method(request, timeout=self.timeout_s + writes * _WRITE_ALLOWANCE_S)
        except grpc.RpcError as error:
            raise self._typed(error) from None

    def _insist(self, method: Callable[..., Any], request: object, *, writes: int) -> Any:
        """Call, and repeat the very same request while the connection breaks."""
        for attempt in range(MAX_RETRIES):
            with suppress(UnavailableError):
                return self._call(method, request, writes=writes)
            # Jittered, so that clients of one broken interconnect do not come back as a herd.
            time.sleep(_BACKOFF_S * 2**attempt * random.uniform(0.5, 1.0))
        return self._call(method, request, writes=writes)

    def _typed(self, error: grpc.RpcError) -> MkrpcError:
        # A failed call is also a grpc.Call; the stubs' RpcError does not say so.
        call: Any = error
        typed = error_of(call.code(), call.details() or "", call.trailing_metadata() or ())
        if typed.advice or not isinstance(typed, UnavailableError):
            return typed
        return UnavailableError(
            f"{self.address}: {typed}", advice="`mkrpc show` tells whether the cluster still runs"
        )
