"""What a host agent says of its instances, and the orders that change which it has."""

from mkrpc.errors import InstanceBusyError, LimitReachedError, MkrpcError
from mkrpc.host.agent import HostAgent
from mkrpc.transport.stream import MAX_FRAME_BYTES
from mkrpc.v1 import interconnect_pb2 as pb

__all__ = ["change", "describe"]

_SLACK_BYTES = 256
"""For the states of processes that change, and the envelope."""


def describe(agent: HostAgent, hello: pb.HostHello) -> None:
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


def change(agent: HostAgent, order: pb.AttachHostResponse) -> tuple[int, int, MkrpcError | None]:
    """Do what an order says of an instance that does not run; one that does is busy.

    Returns which one, the order's number, and what was wrong.
    """
    kept = agent.kept
    kind = order.WhichOneof("message")
    instance_id: int = getattr(order, str(kind)).instance_id
    try:
        if _runs(agent, instance_id):
            raise InstanceBusyError(
                f"EBUSY: the process of instance {instance_id} ({kept.name(instance_id)}) runs",
                advice=f"end it first: mkrpc kill --force {kept.name(instance_id)}",
            )
        match kind:
            case "keep":
                _check_room(agent, order)
                kept.keep(instance_id, order.keep.name, order.keep.apic_ids)
            case "load":
                _check_room(agent, order)
                kept.load(instance_id, order.load.image)
                if instance_id in agent.instances:
                    # How the kernel before it ended says nothing of this one.
                    agent.instances[instance_id].ended_by_order = True
            case "unload":
                kept.unload(instance_id)
                agent.instances.pop(instance_id, None)
            case _:
                kept.drop(instance_id)
                agent.instances.pop(instance_id, None)
    except MkrpcError as error:
        return instance_id, order.order, error
    return instance_id, order.order, None


def _runs(agent: HostAgent, instance_id: int) -> bool:
    """Whether an instance has a process, or is being given one."""
    child = agent.instances.get(instance_id)
    return instance_id in agent.starting or (child is not None and child.exit_code is None)


def _check_room(agent: HostAgent, order: pb.AttachHostResponse) -> None:
    """Its hello has everything that the agent keeps, and goes in one frame."""
    hello = pb.HostHello()
    describe(agent, hello)
    size = hello.ByteSize() + order.ByteSize() + _SLACK_BYTES
    if size > MAX_FRAME_BYTES:
        raise LimitReachedError(
            f"ENOSPC: what this host keeps of its instances would be {size} bytes, and "
            f"{MAX_FRAME_BYTES} are the most",
            advice="unload or delete instances that are not needed",
        )
