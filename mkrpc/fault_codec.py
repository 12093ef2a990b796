"""Faults on the wire: the translator between ``mkrpc.v1.Fault`` and :class:`mkrpc.fault.Fault`."""

from typing import Any

from mkrpc.errors import InvalidArgumentError
from mkrpc.fault import Direction, Fault, FaultKind
from mkrpc.v1 import control_pb2 as pb

__all__ = ["fault_from_pb", "fault_to_pb"]

_KIND_TO_PB: dict[FaultKind, Any] = {  # the generated enum's type is not an int to mypy
    kind: pb.FaultKind.Value(f"FAULT_KIND_{kind.name}") for kind in FaultKind
}
_KIND_FROM_PB = {int(number): kind for kind, number in _KIND_TO_PB.items()}
_DIRECTION_TO_PB: dict[Direction, Any] = {
    Direction.BOTH: pb.LINK_DIRECTION_UNSPECIFIED,
    Direction.UP: pb.LINK_DIRECTION_UP,
    Direction.DOWN: pb.LINK_DIRECTION_DOWN,
}
_DIRECTION_FROM_PB = {int(number): way for way, number in _DIRECTION_TO_PB.items()}


def fault_to_pb(fault: Fault) -> pb.Fault:
    """A fault as its message."""
    return pb.Fault(
        kind=_KIND_TO_PB[fault.kind],
        for_us=fault.for_us,
        instance_id=fault.instance,
        direction=_DIRECTION_TO_PB[fault.direction],
        source=fault.source,
        destination=fault.destination,
        vector=fault.vector,
        share=None if fault.share == 1 else fault.share,
        every=fault.every,
        limit=fault.limit,
        delay_us=fault.delay_us,
        jitter_us=fault.jitter_us,
        period_us=fault.period_us,
        seed=fault.seed,
    )


def fault_from_pb(message: pb.Fault) -> Fault:
    """A fault from its message; InvalidArgumentError for a kind, a direction or numbers that cannot
    be."""
    kind = _KIND_FROM_PB.get(message.kind)
    if kind is None:
        known = ", ".join(FaultKind)
        raise InvalidArgumentError(f"fault kind {message.kind}", advice=f"there are: {known}")
    direction = _DIRECTION_FROM_PB.get(message.direction)
    if direction is None:
        raise InvalidArgumentError(
            f"link direction {message.direction}", advice=f"there are: {', '.join(Direction)}"
        )
    fault = Fault(
        kind=kind,
        for_us=message.for_us,
        instance=message.instance_id if message.HasField("instance_id") else None,
        direction=direction,
        source=message.source if message.HasField("source") else None,
        destination=message.destination if message.HasField("destination") else None,
        vector=message.vector if message.HasField("vector") else None,
        share=message.share if message.HasField("share") else 1.0,
        every=message.every,
        limit=message.limit,
        delay_us=message.delay_us,
        jitter_us=message.jitter_us,
        period_us=message.period_us,
        seed=message.seed,
    )
    fault.check()
    return fault
