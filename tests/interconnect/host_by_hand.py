"""A host agent by hand: the other end of its stream, without a process."""

import asyncio
from typing import Any

from mkrpc.errors import MkrpcError, UnavailableError
from mkrpc.interconnect.apic_bus import ApicBus
from mkrpc.interconnect.attachments import Pump
from mkrpc.interconnect.hosts import HostLink, HostRegistry
from mkrpc.interconnect.lifecycle import Lifecycle
from mkrpc.interconnect.policy import Policy
from mkrpc.link.frames import WIRE_VERSION
from mkrpc.v1 import interconnect_pb2 as pb
from mkrpc.v1 import types_pb2 as types

__all__ = ["Host", "Machine", "Timer", "Wire", "hosted", "turns"]


class Wire:
    """The other end of a host agent's stream: what was sent to it, and how it was closed."""

    peer = "a test"
    writable = True

    def __init__(self) -> None:
        self.sent: list[pb.AttachHostResponse] = []
        self.closed_with: MkrpcError | None = None

    def send(self, frame: bytes) -> None:
        self.sent.append(pb.AttachHostResponse.FromString(frame))

    def close(self, error: MkrpcError | None = None) -> None:
        self.closed_with = error


class Timer:
    """No event loop runs in these tests; the timer itself is tested in test_handshake."""

    def cancel(self) -> None:
        """As asyncio.TimerHandle."""


class Host:
    """A host agent by hand."""

    def __init__(self, registry: HostRegistry) -> None:
        self.wire = Wire()
        self.link: HostLink = registry.open(self.wire)

    def say(self, **message: Any) -> None:
        frame = pb.AttachHostRequest(**message).SerializeToString()
        self.link.on_frame(self.wire, frame)

    def hello(self, *instances: pb.HostedInstance, **fields: Any) -> None:
        given = {"wire_version": WIRE_VERSION, "pid": 1, "host_name": "h", **fields}
        self.say(hello=pb.HostHello(instances=instances, **given))

    def vanish(self) -> None:
        self.link.on_closed(self.wire, UnavailableError("gone"))

    @property
    def last_order(self) -> int:
        return self.wire.sent[-1].order


def hosted(instance_id: int, **fields: Any) -> pb.HostedInstance:
    given = {"name": f"mk{instance_id}", "apic_ids": [instance_id], **fields}
    return pb.HostedInstance(instance_id=instance_id, **given)


async def turns() -> None:
    """Whatever can go on without an answer does: it takes a turn of the loop or two."""
    for _ in range(3):
        await asyncio.sleep(0)


class Machine:
    """A host agent by hand with instance 0, which runs, and instance 1. The pool has 4 to 7."""

    def __init__(self, *others: pb.HostedInstance, bus: ApicBus | None = None) -> None:
        self.registry = HostRegistry(epoch=7, limit_silence=lambda _connection: Timer())
        pump = Pump(bus or ApicBus(epoch=7, policy=Policy.bare_metal()))
        self.verbs = Lifecycle(self.registry, pump)
        self.host = Host(self.registry)
        zero = hosted(0, pid=10, running=True, image=types.Image())
        self.host.hello(zero, *(others or (hosted(1),)), pool=[4, 5, 6, 7])

    @property
    def orders(self) -> list[pb.AttachHostResponse]:
        """What the host agent was told since its welcome."""
        return self.host.wire.sent[1:]

    def answer(self, **fields: Any) -> None:
        """The host agent has done what it was told last, or says why not."""
        last = self.orders[-1]
        number = getattr(last, last.WhichOneof("message")).instance_id
        self.host.say(report=pb.HostReport(instance_id=number, order=last.order, **fields))

    async def do(self, asked: Any) -> Any:
        """A verb that takes one order, which is answered."""
        before = len(self.orders)
        task = asyncio.ensure_future(asked)
        await turns()
        if len(self.orders) > before:
            self.answer()
        return await task

    def create(self, name: str = "", *apic_ids: int, wanted: int | None = None, count: int = 0):
        return self.verbs.create(wanted, name, apic_ids, count)
