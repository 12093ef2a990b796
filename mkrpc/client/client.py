"""A synchronous, typed client of a cluster's Control service.

::

    with Client("unix:/run/user/1000/mkrpc/default/interconnect.sock") as client:
        result = client.inject(to=apic(2), count=1000)
        assert result.all_arrived

Every failure is a class of :mod:`mkrpc.errors`; what became of an interrupt is data. A client may
be used by several threads.
"""

import os
from collections.abc import Iterator
from types import TracebackType
from typing import Any, NoReturn, Self

from mkrpc.client.answers import (
    Accounts,
    ClusterView,
    CpuAnswer,
    InstanceView,
    IpiResult,
    Log,
    LogRecord,
    RateLimit,
)
from mkrpc.client.books import Ledger
from mkrpc.client.bulk import BulkStream
from mkrpc.client.bulk_sender import INJECT_STREAM, BulkSender
from mkrpc.client.calls import closed
from mkrpc.client.channel import CONNECT_TIMEOUT_S, MAX_RECEIVE_BYTES, open_channel
from mkrpc.client.destination import Destination, Ipi, apic, icr, instance, logical, shorthand
from mkrpc.client.errands import ErrandCalls
from mkrpc.client.events import EventBatch
from mkrpc.client.faults import FaultCalls
from mkrpc.client.injector import MAX_RETRIES, Injector
from mkrpc.client.lifecycle import LifecycleCalls
from mkrpc.client.numbers import check_apic_id, check_bits, check_instance_id
from mkrpc.client.pages import whole_cluster
from mkrpc.client.watching import batches
from mkrpc.client.why import WhyAnswer
from mkrpc.errors import (
    InvalidArgumentError,
    LimitReachedError,
    NotFoundError,
)
from mkrpc.link.frames import CpuView
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

MAX_LOG_PAGES = 256
"""Answers that one reading of a log may take."""

_ControlStub: Any = control_pb2_grpc.ControlStub  # generated without types
_WRITE_ALLOWANCE_S = 0.001
_INTERCONNECT_SILENT = "the interconnect may be stopped: `mkrpc down` ends the cluster all the same"


class Client(LifecycleCalls, FaultCalls, ErrandCalls):
    """A connection to one cluster.

    ``address``: ``unix:/path`` or ``host:port``. ``client_id``: 16 bytes that name this client to
    the interconnect, random if not given; whoever gives the id of an earlier client repeats that
    client's injections, which then do not happen again. ``timeout_s``: seconds that a call may
    take; injections get another millisecond for every write.

    Raises InvalidArgumentError for a malformed address or id, UnavailableError if nobody serves the
    address within ``connect_timeout_s``. Every method may raise UnavailableError,
    DeadlineExceededError (it may still happen) and what the service answers.

    An interconnect that dies is started again by its host agent. Calls that only read are repeated
    meanwhile, for :data:`mkrpc.client.repeating.RESTART_PATIENCE_S`; injections too, and happen
    once; all others raise UnavailableError and may have happened.
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
        super().__init__(address, timeout_s=timeout_s)
        self.client_id = client_id or os.urandom(16)
        self._channel = open_channel(address, timeout_s=connect_timeout_s)
        self._stub: Any = _ControlStub(self._channel)
        self._injector = Injector(
            self.client_id,
            send=lambda request, limit_s: self._call(self._stub.Inject, request, limit_s=limit_s),
            learn_roster=lambda: self._summary().roster,
            timeout_s=timeout_s,
        )

    def close(self) -> None:
        """Close the connection; the cluster goes on. Every call is a ClusterStateError from now."""
        self._channel.close()
        self._stub = _Closed()

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
        """Every instance with its CPUs, as last reported; of a large machine page by page, each of
        its own moment.

        UnavailableError if the interconnect is another one from page to page, again and again.
        """
        return ClusterView.of(whole_cluster(self._get_cluster))

    def _summary(self) -> ClusterView:
        return ClusterView.of(self._get_cluster(pb.GetClusterRequest(summary=True)))

    def _get_cluster(self, request: pb.GetClusterRequest) -> pb.GetClusterResponse:
        answer: pb.GetClusterResponse = self._read(
            self._stub.GetCluster, request, if_silent=_INTERCONNECT_SILENT
        )
        return answer

    def find_instance(self, which: int | str) -> InstanceView:
        """One instance by id or name; NotFoundError names those that there are."""
        instances = self.cluster().instances
        for found in instances:
            if which in (found.id, found.name):
                return found
        known = ", ".join(f"{i.id} ({i.name})" for i in instances[:16])
        raise NotFoundError(
            f"ENOENT: no instance {which} at {self.address}", advice=f"there are: {known}"
        )

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
        after 0.1 s, then twice as long each time up to 0.8 s, shortened by up to half at random,
        with the same sequence numbers, so that it happens once (design 3.3, rule 6).

        After UnavailableError or DeadlineExceededError it may have happened, and may still. Peers
        cannot forget what came after it until its end is known. So the very same request is
        repeated before later injections, ever more rarely while that is in vain; each time it holds
        them up by :data:`REPEAT_S` at most. If it had not happened, it happens late, then. A
        program that cannot have that goes on with a new client.

        Raises InvalidArgumentError, also for ``self`` and ``others``, which need an APIC;
        LimitReachedError once 1024 injections have come since the oldest without a known end.
        """
        ipi = Ipi(to=to, vector=vector, delivery_mode=delivery_mode, count=count)
        if to.needs_an_apic:
            raise InvalidArgumentError(
                f"an external agent has no APIC of its own: {to.value!r} means nothing to it",
                advice="let a CPU write its ICR (--from APIC_ID), or send to all",
            )
        limit_s = self.timeout_s + count * _WRITE_ALLOWANCE_S
        return IpiResult.of(self._injector.inject(ipi, timeout_s=limit_s))

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
        limit_s = self.timeout_s + count * _WRITE_ALLOWANCE_S
        return IpiResult.of(self._call(self._stub.WriteIcr, request, limit_s=limit_s))

    def bulk(self, *, each: bool = False) -> BulkStream:
        """A stream of ICR words, for many of them: see :class:`mkrpc.client.bulk.BulkStream`.

        ``each``: learn the outcome of every word and not only counts. It is a source of its own,
        with a client id of its own.
        """
        call: Any = self._channel.stream_stream(INJECT_STREAM)
        return BulkStream(
            BulkSender(os.urandom(16), each=each),
            open_call=call,
            typed=self._typed,
            timeout_s=self.timeout_s,
        )

    def cpu(self, apic_id: int) -> CpuAnswer:
        """All registers of a CPU, asked of its instance; NotFoundError if none has it."""
        request = pb.GetCpuRequest(apic_id=check_apic_id(apic_id))
        return CpuAnswer.of(self._read(self._stub.GetCpu, request))

    def set_cpu(
        self,
        apic_id: int,
        *,
        interrupts_enabled: bool | None = None,
        halt: bool | None = None,
        tpr: int | None = None,
        online: bool | None = None,
    ) -> CpuView:
        """Set IF, halt or wake, or set the TPR (0 to 255) of a CPU, or take it offline or bring it
        online, which takes its time; returns it as it is then."""
        if (interrupts_enabled, halt, tpr, online) == (None,) * 4:
            raise InvalidArgumentError("nothing to set", advice="name IF, halt, TPR or online")
        if tpr is not None and not 0 <= tpr <= 0xFF:
            raise InvalidArgumentError(f"TPR {tpr:#x} is not 8 bits", advice="give 0 to 0xff")
        request = pb.SetCpuRequest(
            apic_id=check_apic_id(apic_id),
            interrupts_enabled=interrupts_enabled,
            halt=halt,
            tpr=tpr,
            online=online,
        )
        return CpuAnswer.of(self._call(self._stub.SetCpu, request)).view

    def accounts(self, instance_id: int, *, from_instance: bool = False) -> Accounts:
        """The mirror's accounting of an instance and, on request, the instance's own."""
        request = pb.GetAccountsRequest(
            instance_id=check_instance_id(instance_id), from_instance=from_instance
        )
        return Accounts.of(self._read(self._stub.GetAccounts, request))

    def ledger(self, *, totals_only: bool = False) -> Ledger:
        """The books of legs and outcomes."""
        request = pb.GetLedgerRequest(totals_only=totals_only)

        def read(request: object, timeout: float) -> Ledger:
            return Ledger.of(self._stub.GetLedger(request, timeout=timeout))

        books: Ledger = self._read(read, request)
        return books

    def why(self, apic_id: int, vector: int) -> WhyAnswer:
        """Why a vector (0 to 255; 2 is the NMI) of a CPU is pending, in service or on its way.

        What the instance does not answer within a second is told by the interconnect alone.
        NotFoundError if no CPU has or had the APIC id.
        """
        if not 0 <= vector <= 0xFF:
            raise InvalidArgumentError(f"vector {vector} is no vector", advice="give 0 to 255")
        request = pb.WhyRequest(apic_id=check_apic_id(apic_id), vector=vector)
        return WhyAnswer.of(self._call(self._stub.Why, request, if_silent=_INTERCONNECT_SILENT))

    def log(self, instance_id: int, *, since: int = 0) -> Log:
        """The printk ring from record number ``since`` on, in as many calls as it takes.

        LimitReachedError if it grows faster than :data:`MAX_LOG_PAGES` answers can tell.
        """
        records: list[LogRecord] = []
        check_bits("record number", since, 64)
        for _ in range(MAX_LOG_PAGES):
            request = pb.GetLogRequest(instance_id=check_instance_id(instance_id), since=since)
            page = self._read(self._stub.GetLog, request)
            if not page.records:
                return Log(records=tuple(records), dropped=page.dropped)
            records.extend(LogRecord.of(record) for record in page.records)
            since = records[-1].number + 1
        raise LimitReachedError(
            f"the log of instance {instance_id} did not end within {MAX_LOG_PAGES} answers",
            advice="read it in parts, with `since`",
        )

    def proc(self, instance_id: int, path: str) -> str:
        """A file of an instance's /proc: ``interrupts``, ``stat`` or ``cmdline``; of the host
        ``multikernel`` and ``kimage`` too, the tables of what is loaded."""
        request = pb.GetProcRequest(instance_id=check_instance_id(instance_id), path=path)
        return str(self._read(self._stub.GetProc, request).text)

    def interrupts(self, instance_id: int) -> str:
        """/proc/interrupts of an instance."""
        return self.proc(instance_id, "interrupts")

    def watch(self) -> Iterator[EventBatch]:
        """Events as they happen, without end; closing the iterator ends the stream.

        Nothing that happens after this has returned is missed (but see ``EventBatch.missed``). If
        the interconnect dies, a batch whose ``gap`` says so comes first from the next one.
        """
        return batches(self._stub, epoch=lambda: self._summary().epoch, typed=self._typed)

    def quiesce(self) -> int:
        """Wait until nothing is in flight and all is reported; returns the rounds it took."""
        return int(self._read(self._stub.Quiesce, pb.QuiesceRequest()).rounds)

    def set_rate(
        self, instance_id: int | None, writes_per_s: int, *, burst: int = 0
    ) -> RateLimit | None:
        """Let so many ICR writes of an instance pass, or, with None, of all clients together.

        ``writes_per_s`` 0: no limit. ``burst`` 0: as many at once as pass in 0.1 s. Lasts until the
        interconnect ends. Returns the bucket, None if there is no limit.
        """
        request = pb.SetRateRequest(
            instance_id=None if instance_id is None else check_instance_id(instance_id),
            writes_per_s=check_bits("writes per second", writes_per_s, 64),
            burst=check_bits("burst", burst, 64),
        )
        answer = self._call(self._stub.SetRate, request, if_silent=_INTERCONNECT_SILENT)
        return RateLimit.of(answer.rate) if answer.HasField("rate") else None

    def shutdown(self) -> None:
        """Stop the whole cluster."""
        self._call(self._stub.Shutdown, pb.ShutdownRequest(), if_silent=_INTERCONNECT_SILENT)


class _Closed:
    """The stub of a client that has been closed."""

    def __getattr__(self, method: str) -> NoReturn:
        raise closed()
