"""The interconnect's process: one event loop, one gRPC server, one bus."""

import asyncio
import gc
import secrets
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import grpc
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from mkrpc.fault import Fault
from mkrpc.frame_codec import ATTACH
from mkrpc.interconnect.answers import Switches
from mkrpc.interconnect.apic_bus import ApicBus
from mkrpc.interconnect.attachments import Pump
from mkrpc.interconnect.beats import BeatServer
from mkrpc.interconnect.book_keeping import BookKeeper, Books, open_books
from mkrpc.interconnect.bucket import Rates
from mkrpc.interconnect.control import ControlService
from mkrpc.interconnect.hosts import ATTACH_HOST, HostRegistry
from mkrpc.interconnect.injection_stream import INJECT_STREAM, InjectionStreams
from mkrpc.interconnect.lease import LEASE_US
from mkrpc.interconnect.link_faults import LinkFaults
from mkrpc.interconnect.policy import Policy
from mkrpc.interconnect.recording import open_bus
from mkrpc.interconnect.routing import Arbitration
from mkrpc.interconnect.stalls import STALL_US
from mkrpc.interconnect.watch import EventHub
from mkrpc.journal.recorder import Recording
from mkrpc.transport import supervision
from mkrpc.transport.address import Address, check_listen, parse
from mkrpc.transport.choice import chosen
from mkrpc.transport.stream import HandlerFactory
from mkrpc.transport.supervision import core_task
from mkrpc.v1 import control_pb2, control_pb2_grpc, interconnect_pb2

__all__ = ["serve"]

DRAIN_GRACE_S = 1.0
"""Seconds for what is in flight to get its outcome when the interconnect is told to stop."""

_DRAIN_LOOKS = 100

STOP_GRACE_S = 1.0
"""Seconds for calls under way to end when the interconnect stops."""

_log = structlog.get_logger("mkrpc.interconnect")

_CONTROL = control_pb2.DESCRIPTOR.services_by_name["Control"].full_name
_INTERCONNECT = interconnect_pb2.DESCRIPTOR.services_by_name["Interconnect"].full_name


def serve(
    *,
    address: str,
    insecure: bool = False,
    policy: str = "bare-metal",
    rates: Rates | None = None,
    arbitration: Arbitration = "ppr",
    switches: Switches | None = None,
    lease_us: int = LEASE_US,
    stall_us: int = STALL_US,
    faults: Sequence[Fault] = (),
    books: Path | None = None,
    recording: Recording | None = None,
    hosted: bool = False,
    on_listening: Callable[[str], None] = lambda _address: None,
) -> int:
    """Serve until SIGTERM or SIGINT; the exit code.

    ``rates``: as for :class:`Policy`, ``lease_us`` as for :class:`ApicBus`. ``stall_us``: after how
    long an interrupt that nobody takes is reported; 0: never. ``faults`` are injected from the
    start. ``switches`` is told to clients and changes nothing. ``books``: the file that
    outlives it, from which it takes over; None: none. ``recording``: where it keeps a
    journal of its inputs, or None. ``hosted``: a host agent has started it, and will attach.
    ``on_listening`` is told the address once it answers (with the port chosen for port 0). Raises
    what :meth:`StreamServer.start`, :func:`check_listen`, :meth:`Policy.named` and
    :func:`open_books` raise, before anything listens.
    """
    where = parse(address)
    check_listen(where, insecure)
    named = Policy.named(policy, rates=rates)
    epoch = secrets.randbits(64) or 1
    found = open_books(books, epoch=epoch, lease_us=lease_us)
    with open_bus(
        recording,
        epoch=epoch,
        policy=named,
        arbitration=arbitration,
        lease_us=lease_us,
        takeover=found.takeover,
    ) as bus:
        bus.stalls.limit_us = stall_us
        bus.advance(time.monotonic_ns() // 1000)
        for fault in faults:
            bus.set_fault(fault)
        return supervision.run(
            _serve(
                bus,
                found,
                where,
                insecure=insecure,
                switches=switches or Switches(),
                hosted=hosted,
                on_listening=on_listening,
            )
        )


async def _serve(
    bus: ApicBus,
    books: Books,
    where: Address,
    *,
    insecure: bool,
    switches: Switches,
    hosted: bool,
    on_listening: Callable[[str], None],
) -> int:
    events = EventHub(bus.watch)
    beats = BeatServer()
    keeper = BookKeeper(bus, books, events)
    pump = Pump(bus, beats, keep=keeper.keep)
    link_faults = LinkFaults(pump, beats)
    hosts = HostRegistry(bus.epoch, on_ended=pump.process_ended, hosted=hosted)
    hosts.on_paused = link_faults.paused
    healthiness = health.aio.HealthServicer()

    def address() -> str:
        return str(server.bound_address)

    def add_services(server: grpc.aio.Server) -> None:
        control = ControlService(
            bus,
            pump=pump,
            books=keeper,
            hosts=hosts,
            events=events,
            address=address,
            switches=switches,
            faults=link_faults,
        )
        add_control: Any = control_pb2_grpc.add_ControlServicer_to_server  # generated untyped
        add_control(control, server)
        _add_health(healthiness, server)

    streams: dict[str, HandlerFactory] = {ATTACH: link_faults.open, ATTACH_HOST: hosts.open}
    streams[INJECT_STREAM] = InjectionStreams(pump).open
    server = chosen().server(methods=streams, add_services=add_services)
    stop = _stop_signal()
    pump.begin()
    await server.start(where, insecure=insecure)
    pump.beat_address = beats.start(server.bound_address)
    tasks = [
        core_task(keeper.run(), "the books"),
        core_task(_tell_health(healthiness, pump.recovered), "health"),
    ]
    _log.info(
        "listening",
        address=str(server.bound_address),
        epoch=f"{bus.epoch:016x}",
        lease_s=bus.lease_us / 1e6,
        transport=chosen().name,
        loop=chosen().loop,
    )
    _keep_what_there_is()
    on_listening(str(server.bound_address))
    await stop.wait()
    _log.info("stopping", in_flight=bus.in_flight())
    await healthiness.enter_graceful_shutdown()
    if not await _drained(bus):
        _log.warning("what is in flight is given up", in_flight=bus.in_flight())
    pump.goodbye("the interconnect stops")
    beats.stop()
    await server.stop(STOP_GRACE_S)
    for task in tasks:
        task.cancel()
    keeper.close("the interconnect was stopped")
    return 0


def _keep_what_there_is() -> None:
    """It stays: a full collection would look at all of it each time, for 10 to 40 ms in which no
    interrupt goes on."""
    gc.collect()
    gc.freeze()


def _stop_signal() -> asyncio.Event:
    """Set by SIGTERM and SIGINT, which do nothing else from now on."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


def _add_health(healthiness: health.aio.HealthServicer, server: grpc.aio.Server) -> None:
    """Health, and reflection of all that is served."""
    health_pb2_grpc.add_HealthServicer_to_server(healthiness, server)
    own = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
    names = (_CONTROL, _INTERCONNECT, own, reflection.SERVICE_NAME)
    reflection.enable_server_reflection(names, server)


async def _drained(bus: ApicBus) -> bool:
    """Wait until nothing is in flight, :data:`DRAIN_GRACE_S` at most; whether nothing is."""
    for _ in range(_DRAIN_LOOKS):
        if not bus.in_flight():
            return True
        await asyncio.sleep(DRAIN_GRACE_S / _DRAIN_LOOKS)
    return not bus.in_flight()


async def _tell_health(healthiness: health.aio.HealthServicer, recovered: asyncio.Event) -> None:
    """Instances may come at once, clients once all that is known of them is back."""
    for service in ("", _INTERCONNECT):
        await healthiness.set(service, health_pb2.HealthCheckResponse.SERVING)
    if not recovered.is_set():
        await healthiness.set(_CONTROL, health_pb2.HealthCheckResponse.NOT_SERVING)
        await recovered.wait()
    await healthiness.set(_CONTROL, health_pb2.HealthCheckResponse.SERVING)
