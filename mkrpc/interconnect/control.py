"""The Control service: decode, ask the bus, encode. No rule of the machine lives here.

Errors are raised as :class:`MkrpcError`; the transport's guard gives them to the client as a gRPC
status with google.rpc.ErrorInfo.
"""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any, TypeAlias

import grpc

from mkrpc.codec import cpu_account_to_pb, cpu_view_to_pb, log_record_to_pb
from mkrpc.errors import (
    DeadlineExceededError,
    InvalidArgumentError,
    NotFoundError,
    UnavailableError,
)
from mkrpc.interconnect.answers import (
    Switches,
    cluster_to_pb,
    ledger_to_pb,
    legs_to_pb,
    rate_to_pb,
)
from mkrpc.interconnect.apic_bus import ApicBus
from mkrpc.interconnect.asks import ask
from mkrpc.interconnect.attachments import Pump
from mkrpc.interconnect.book_keeping import BookKeeper
from mkrpc.interconnect.bucket import CLIENTS, Rate
from mkrpc.interconnect.errand_control import ErrandControl
from mkrpc.interconnect.hosts import HostRegistry
from mkrpc.interconnect.link_faults import LinkFaults
from mkrpc.interconnect.requests import cpu_action, icr_from_request, known_instance
from mkrpc.interconnect.tally_waiter import TallyWaiter
from mkrpc.interconnect.watch import EventHub
from mkrpc.interconnect.why import explain, stall_to_pb
from mkrpc.limits import IDENTITY_BYTES, MAX_INSTANCE_ID
from mkrpc.link.frames import MAX_REPLY_VIEWS, CommandKind, Reply
from mkrpc.v1 import control_pb2 as pb

__all__ = ["ControlService"]

MAX_QUIESCE_ROUNDS = 10_000
"""Rounds of fences before a machine that rings itself for ever is reported as never quiet."""

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


class ControlService(ErrandControl):
    """Serves clients from the bus.

    ``pump`` sends whatever a request has caused; what asks for an instance waits until all that
    are known are back. ``books``: what is kept for another interconnect. ``address`` tells where
    the server listens; ``switches`` is what the topology has set; ``faults`` injects.
    """

    def __init__(
        self,
        bus: ApicBus,
        *,
        pump: Pump,
        books: BookKeeper,
        hosts: HostRegistry,
        events: EventHub,
        address: Callable[[], str],
        switches: Switches,
        faults: LinkFaults,
    ) -> None:
        super().__init__(hosts, faults)
        self._bus = bus
        self._rota = pump.rota
        self._drain = pump.drain
        self._tell_time = pump.tell_time
        self._books = books
        self._events = events
        self._address = address
        self._switches = switches

    async def GetCluster(  # noqa: N802 - gRPC's spelling
        self, request: pb.GetClusterRequest, context: Context
    ) -> pb.GetClusterResponse:
        """Every instance, as last reported; or a page of them."""
        self._tell_time()
        self._drain()
        response = cluster_to_pb(
            self._bus,
            self._hosts,
            self._switches,
            address=self._address(),
            interconnect_pid=os.getpid(),
            summary=request.summary,
            page_from=request.first_instance if request.paged else None,
        )
        response.restarts = self._books.restarts
        response.books_trouble = self._books.trouble
        if not request.first_instance:
            response.stalls.extend(stall_to_pb(stall) for stall in self._bus.stalls.open())
        return response

    async def Inject(self, request: pb.InjectRequest, context: Context) -> pb.InjectResponse:  # noqa: N802
        """Inject as an external agent."""
        await self._recovered.wait()
        word = icr_from_request(request, self._first_cpu)
        count = request.count or 1
        client_id, first_seq = request.client_id, request.first_seq
        at_least_once = not client_id
        if at_least_once:
            client_id, first_seq = secrets.token_bytes(IDENTITY_BYTES), 1
        elif len(client_id) != IDENTITY_BYTES or first_seq == 0:
            raise InvalidArgumentError(
                f"a client id of {len(client_id)} bytes with sequence number {first_seq}",
                advice=f"a client id has {IDENTITY_BYTES} bytes and numbers start at 1",
            )
        waiter = TallyWaiter(self._bus)
        self._tell_time()
        tally = await self._rota.call(
            lambda: self._bus.inject(
                client_id=client_id,
                first_seq=first_seq,
                word=word,
                count=count,
                resolved_below=request.resolved_below if not at_least_once else 1,
                on_done=waiter.done,
                again=request.again and not at_least_once,
                roster=request.roster,
            )
        )
        self._drain()
        tally = await waiter.wait(tally)
        if at_least_once:
            # Nobody can ever repeat it: its outcomes need not be remembered.
            self._bus.forget_client(client_id)
            self._drain()
        return pb.InjectResponse(
            written=tally.written,
            legs=legs_to_pb(tally),
            at_least_once=at_least_once,
            repeated_call=tally.repeated,
            roster=self._bus.roster_number,
        )

    async def WriteIcr(self, request: pb.WriteIcrRequest, context: Context) -> pb.WriteIcrResponse:  # noqa: N802
        """Ask a CPU to write its ICR."""
        await self._recovered.wait()
        word = icr_from_request(request, self._first_cpu)
        waiter = TallyWaiter(self._bus)
        tally = self._bus.write_icr(
            apic_id=request.apic_id,
            word=word,
            count=request.count or 1,
            on_done=waiter.done,
        )
        self._drain()
        tally = await waiter.wait(tally)
        return pb.WriteIcrResponse(written=tally.written, legs=legs_to_pb(tally))

    async def SetCpu(self, request: pb.SetCpuRequest, context: Context) -> pb.SetCpuResponse:  # noqa: N802
        """Set IF, halt or TPR of a CPU."""
        await self._recovered.wait()
        instance_id, cpu = self._owner(request.apic_id)
        action = cpu_action(request)
        reply = await self._ask(instance_id, CommandKind.SET_CPU, cpu=cpu, action=action)
        return pb.SetCpuResponse(cpu=cpu_view_to_pb(reply.cpus[0]))

    async def GetCpu(self, request: pb.GetCpuRequest, context: Context) -> pb.GetCpuResponse:  # noqa: N802
        """All registers of a CPU."""
        await self._recovered.wait()
        instance_id, cpu = self._owner(request.apic_id)
        reply = await self._ask(instance_id, CommandKind.READ_CPU, cpu=cpu)
        return pb.GetCpuResponse(cpu=cpu_view_to_pb(reply.cpus[0]), instance_id=instance_id)

    async def GetAccounts(  # noqa: N802
        self, request: pb.GetAccountsRequest, context: Context
    ) -> pb.GetAccountsResponse:
        """The mirror, and on request what the instance says of itself.

        The two are of one moment if the machine is at rest, or if one reply holds all CPUs.
        """
        await self._recovered.wait()
        response = pb.GetAccountsResponse()
        if request.from_instance:
            cpus = len(self._bus.apic_ids(request.instance_id))
            for first in range(0, cpus, MAX_REPLY_VIEWS):
                reply = await self._ask(
                    request.instance_id,
                    CommandKind.READ_ACCOUNT,
                    cpu=first,
                    count=min(MAX_REPLY_VIEWS, cpus - first),
                )
                response.instance.extend(cpu_account_to_pb(view.account) for view in reply.cpus)
        incarnation, accounts = self._bus.mirrored(request.instance_id)
        response.incarnation = incarnation
        response.mirror.extend(cpu_account_to_pb(account) for account in accounts)
        return response

    async def GetLedger(  # noqa: N802
        self, request: pb.GetLedgerRequest, context: Context
    ) -> AsyncIterator[pb.GetLedgerResponse]:
        """The books as they are now; they may move on while the rows are on their way."""
        for message in ledger_to_pb(self._bus, totals_only=request.totals_only):
            yield message

    async def GetLog(self, request: pb.GetLogRequest, context: Context) -> pb.GetLogResponse:  # noqa: N802
        """The printk ring from a record on, as much of it as fits a frame."""
        await self._recovered.wait()
        reply = await self._ask(request.instance_id, CommandKind.READ_LOG, count=request.since)
        return pb.GetLogResponse(
            records=[log_record_to_pb(record) for record in reply.records],
            dropped=reply.records_dropped,
        )

    async def GetProc(self, request: pb.GetProcRequest, context: Context) -> pb.GetProcResponse:  # noqa: N802
        """A file of /proc."""
        await self._recovered.wait()
        if (text := self._host_file(request.instance_id, request.path)) is not None:
            return pb.GetProcResponse(text=text)
        reply = await self._ask(
            request.instance_id, CommandKind.READ_PROC, action=request.path or "interrupts"
        )
        return pb.GetProcResponse(text=reply.text)

    async def Why(self, request: pb.WhyRequest, context: Context) -> pb.WhyResponse:  # noqa: N802
        """Why a vector of a CPU is where it is."""
        self._tell_time()
        self._drain()
        return await explain(self._bus, self._drain, request)

    async def Watch(  # noqa: N802
        self, request: pb.WatchRequest, context: Context
    ) -> AsyncIterator[pb.WatchResponse]:
        """Events as they happen."""
        watcher = self._events.add()
        try:
            # Headers first: a client then knows that it misses nothing from here on.
            await context.send_initial_metadata(())
            while True:
                yield await watcher.next_message()
        finally:
            self._events.remove(watcher)

    async def Quiesce(self, request: pb.QuiesceRequest, context: Context) -> pb.QuiesceResponse:  # noqa: N802
        """Fence every instance until nothing was written between two rounds."""
        await self._recovered.wait()
        for rounds in range(1, MAX_QUIESCE_ROUNDS + 1):
            before, was_quiet = self._bus.written(), self._bus.quiet()
            fences = [
                self._ask(instance_id, CommandKind.FENCE)
                for instance_id in self._bus.attached_ids()
            ]
            for answer in await asyncio.gather(*fences, return_exceptions=True):
                # An instance that went away meanwhile has nothing more to report.
                gone = isinstance(answer, UnavailableError | NotFoundError)
                if isinstance(answer, BaseException) and not gone:
                    raise answer
            if was_quiet and self._bus.quiet() and self._bus.written() == before:
                return pb.QuiesceResponse(rounds=rounds)
        raise DeadlineExceededError(
            f"interrupts were still being written after {MAX_QUIESCE_ROUNDS} rounds",
            advice="a program or handler keeps ringing: end it, or read the ledger as it is",
        )

    async def SetRate(self, request: pb.SetRateRequest, context: Context) -> pb.SetRateResponse:  # noqa: N802
        """Limit a source, or lift its limit."""
        source = request.instance_id if request.HasField("instance_id") else CLIENTS
        if source is not CLIENTS and source > MAX_INSTANCE_ID:
            raise NotFoundError(f"there is no instance {source}", advice="'mkrpc show' lists them")
        self._tell_time()
        rate = Rate.of({"writes_per_s": request.writes_per_s, "burst": request.burst})
        self._bus.buckets.change(source, rate)
        return pb.SetRateResponse(rate=rate_to_pb(self._bus, source))

    def _first_cpu(self, instance: int | str) -> int:
        names = self._bus.attached_names() if isinstance(instance, str) else {}
        number = next((each for each, name in names.items() if name == instance), instance)
        with suppress(NotFoundError):  # then it is told who is there, which takes a look at all
            if isinstance(number, int):
                return self._bus.apic_ids(number)[0]
        known = {name: each for each, name in self._bus.attached_names().items()}
        raise known_instance(instance, known)

    def _owner(self, apic_id: int) -> tuple[int, int]:
        session, cpu = self._bus.cpu_owner(apic_id)
        return session.hello.instance_id, cpu

    async def _ask(
        self, instance_id: int, kind: CommandKind, *, cpu: int = 0, count: int = 0, action: str = ""
    ) -> Reply:
        """As :func:`mkrpc.interconnect.asks.ask`."""
        return await ask(
            self._bus, self._drain, instance_id, kind, cpu=cpu, count=count, action=action
        )
