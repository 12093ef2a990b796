"""What a host agent says of its instances when it attaches, and how much of that there may be.

It is one frame, whatever has been loaded since the cluster began; what would not fit is refused
before it is kept. Nothing here imports gRPC.
"""

from typing import TYPE_CHECKING

from mkrpc.errors import LimitReachedError
from mkrpc.limits import MAX_FRAME_BYTES
from mkrpc.v1 import interconnect_pb2 as pb

if TYPE_CHECKING:
    from mkrpc.host.agent import HostAgent

__all__ = ["check_room", "check_start", "describe"]

_ENVELOPE_BYTES = 1024
"""For the host's name of 255 characters, and what frames a message."""

_PROCESS_BYTES = 48
"""For what becomes of one instance's process: its id, how it ended, how it is."""


def describe(agent: "HostAgent", hello: pb.HostHello) -> None:
    """Every instance with its process and what is loaded, and the CPUs that nobody has."""
    kept = agent.kept
    for spec in kept.specs.values():
        hosted = hello.instances.add(instance_id=spec.id, name=spec.name, apic_ids=spec.cpus)
        hosted.spare_cpus = spec.spare_cpus
        child = agent.instances.get(spec.id)
        if child is not None:
            hosted.pid, hosted.running, hosted.exit_code = child.state
            hosted.paused = child.paused
            hosted.ended_by_order = child.ended_by_order
        for images, field in ((kept.images, hosted.image), (kept.first_images, hosted.first_image)):
            image = images.get(spec.id)
            if image is not None:
                field.CopyFrom(image)
    hello.pool.extend(sorted(kept.pool))
    hello.deleted.extend(sorted(kept.deleted))


def check_room(agent: "HostAgent", order: pb.AttachHostResponse) -> None:
    """Whether what the agent keeps still fits its hello with what an order adds.

    :raises LimitReachedError: it does not.
    """
    size = _most_bytes(agent) + order.ByteSize()
    if size > MAX_FRAME_BYTES:
        raise LimitReachedError(
            f"ENOSPC: what this host keeps of its instances would be {size} bytes, and "
            f"{MAX_FRAME_BYTES} are the most",
            advice="unload or delete instances that are not needed",
        )


def check_start(agent: "HostAgent") -> None:
    """Whether what the topology gives its instances fits the first hello; before any is started.

    :raises LimitReachedError: it does not.
    """
    size = _most_bytes(agent)
    if size > MAX_FRAME_BYTES:
        raise LimitReachedError(
            f"what the topology gives its {len(agent.kept.specs)} instances takes {size} bytes, "
            f"each image twice, and {MAX_FRAME_BYTES} are the most that a host can keep",
            advice="shorten command lines and names of programs and handlers, or leave instances "
            "to `mkrpc create` and `mkrpc load`, whose images count once",
        )


def _most_bytes(agent: "HostAgent") -> int:
    """What the hello takes at most, whatever becomes of the processes."""
    hello = pb.HostHello()
    describe(agent, hello)
    return hello.ByteSize() + _ENVELOPE_BYTES + _PROCESS_BYTES * len(hello.instances)
