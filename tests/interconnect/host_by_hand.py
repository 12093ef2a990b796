"""A host agent by hand: the other end of its stream, without a process."""

from typing import Any

from mkrpc.errors import MkrpcError, UnavailableError
from mkrpc.interconnect.hosts import HostLink, HostRegistry
from mkrpc.link.frames import WIRE_VERSION
from mkrpc.v1 import interconnect_pb2 as pb

__all__ = ["Host", "Timer", "Wire", "hosted"]


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
