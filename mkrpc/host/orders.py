"""The orders that change which instances a host agent has."""

from mkrpc.errors import InstanceBusyError, MkrpcError
from mkrpc.host.agent import HostAgent
from mkrpc.host.hello import check_room
from mkrpc.v1 import interconnect_pb2 as pb

__all__ = ["change"]


def change(agent: HostAgent, order: pb.AttachHostResponse) -> tuple[int, int, MkrpcError | None]:
    """Do what an order says of an instance that does not run; one that does is busy.

    Returns which one, the order's number, and what was wrong.
    """
    kept = agent.kept
    kind = order.WhichOneof("message")
    instance_id: int = getattr(order, str(kind)).instance_id
    try:
        hotplug = kind == "keep" and order.keep.hotplug
        if _runs(agent, instance_id) and not hotplug:
            raise InstanceBusyError(
                f"EBUSY: the process of instance {instance_id} ({kept.name(instance_id)}) runs",
                advice=f"end it first: mkrpc kill --force {kept.name(instance_id)}",
            )
        match kind:
            case "keep":
                check_room(agent, order)
                kept.keep(instance_id, order.keep.name, order.keep.apic_ids)
                agent.old_logs.created(kept.name(instance_id))
            case "load":
                check_room(agent, order)
                kept.load(instance_id, order.load.image)
                if instance_id in agent.instances:
                    # How the kernel before it ended says nothing of this one.
                    agent.instances[instance_id].ended_by_order = True
            case "unload":
                kept.unload(instance_id)
                agent.instances.pop(instance_id, None)
            case _:
                name = kept.name(instance_id)
                kept.drop(instance_id)
                agent.old_logs.deleted(name)
                agent.instances.pop(instance_id, None)
    except MkrpcError as error:
        return instance_id, order.order, error
    return instance_id, order.order, None


def _runs(agent: HostAgent, instance_id: int) -> bool:
    """Whether an instance has a process, or is being given one."""
    child = agent.instances.get(instance_id)
    return instance_id in agent.starting or (child is not None and child.exit_code is None)
