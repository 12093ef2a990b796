"""The calls of a client that make something go wrong, and what they answer (docs/faults.md)."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from mkrpc.client.calls import Caller
from mkrpc.client.numbers import check_bits, check_instance_id
from mkrpc.errors import InvalidArgumentError
from mkrpc.fault import MAX_FAULT_US, Fault
from mkrpc.fault_codec import fault_from_pb, fault_to_pb
from mkrpc.v1 import control_pb2 as pb

__all__ = ["HOST_SILENT", "FaultCalls", "InjectedFault"]

HOST_SILENT = "its host agent may be stopped: `mkrpc down` ends the cluster all the same"


@dataclass(frozen=True, slots=True)
class InjectedFault:
    """A fault that is injected, or was until just now.

    ``text``: what it does, in words. ``age_s`` and ``left_s``: seconds since it began and until it
    ends by itself, None for never. ``struck``: legs or frames that it has struck, or cuts.
    """

    number: int
    fault: Fault
    text: str
    age_s: float
    left_s: float | None
    struck: int

    @classmethod
    def of(cls, message: pb.InjectedFault) -> "InjectedFault":
        """Translate; InvalidArgumentError if the message says what cannot be."""
        return cls(
            number=message.number,
            fault=fault_from_pb(message.fault),
            text=message.text,
            age_s=message.age_us / 1e6,
            left_s=message.left_us / 1e6 if message.HasField("left_us") else None,
            struck=message.struck,
        )


class FaultCalls(Caller):
    """The part of :class:`mkrpc.client.Client` that breaks things."""

    _stub: Any

    def set_fault(self, fault: Fault) -> InjectedFault:
        """Inject a fault from now on.

        Raises InvalidArgumentError for one that cannot be, LimitReachedError when there are too
        many.
        """
        fault.check()
        request = pb.SetFaultRequest(fault=fault_to_pb(fault))
        return InjectedFault.of(self._call(self._stub.SetFault, request).fault)

    def faults(self) -> tuple[InjectedFault, ...]:
        """The faults that are injected now, oldest first."""
        answer = self._read(self._stub.ListFaults, pb.ListFaultsRequest())
        return tuple(InjectedFault.of(fault) for fault in answer.faults)

    def clear_faults(self, numbers: Iterable[int] = ()) -> tuple[InjectedFault, ...]:
        """End faults by number, or all; returns them as they were at their end.

        A pause ends with a SIGCONT. Raises NotFoundError, and ends none, if there is none of a
        number.
        """
        request = pb.ClearFaultsRequest(
            numbers=[check_bits("fault", number, 32) for number in numbers]
        )
        answer = self._call(self._stub.ClearFaults, request, if_silent=HOST_SILENT)
        return tuple(InjectedFault.of(fault) for fault in answer.faults)

    def pause_instance(self, instance_id: int, *, for_s: float = 0.0) -> int:
        """Stop an instance's process (SIGSTOP) for so many seconds, 0: until it is resumed.

        Returns its process id. It is dead to the others once its lease is over, and ends as soon as
        it notices. Raises ClusterStateError if it does not run or is paused, or if no host agent is
        there to do it.
        """
        if not 0 <= for_s <= MAX_FAULT_US / 1e6:
            raise InvalidArgumentError(
                f"a pause of {for_s:g} s", advice=f"at most {MAX_FAULT_US // 10**6} s"
            )
        request = pb.PauseInstanceRequest(
            instance_id=check_instance_id(instance_id), for_us=round(for_s * 1e6)
        )
        return int(self._call(self._stub.PauseInstance, request, if_silent=HOST_SILENT).pid)

    def resume_instance(self, instance_id: int) -> int:
        """Let an instance's process that was paused go on (SIGCONT); returns its process id."""
        request = pb.ResumeInstanceRequest(instance_id=check_instance_id(instance_id))
        return int(self._call(self._stub.ResumeInstance, request, if_silent=HOST_SILENT).pid)
