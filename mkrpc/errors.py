"""Errors that an operator can cause.

Each class carries the gRPC status that reports it, a reason from one registry (the ``reason`` of
google.rpc.ErrorInfo) and whether it ``certainly_did_not_happen``. What hardware does is not here:
see :mod:`mkrpc.outcome`. A bug is an ``AssertionError``, never one of these.
"""

from typing import ClassVar

__all__ = [
    "AddressInUseError",
    "AlreadyExistsError",
    "ClusterStateError",
    "DeadlineExceededError",
    "FencedError",
    "FrameTooLargeError",
    "InstanceBusyError",
    "InternalError",
    "InvalidArgumentError",
    "LimitReachedError",
    "MkrpcError",
    "NoCpuError",
    "NotActiveError",
    "NotFoundError",
    "NothingLoadedError",
    "PermissionDeniedError",
    "ProtocolError",
    "StartUpError",
    "StuckError",
    "TopologyError",
    "UnavailableError",
    "error_for_reason",
]


class MkrpcError(Exception):
    """Something went wrong that a person can mend.

    ``str(error)`` is one line that says what happened and where; ``advice`` says what to do next.
    """

    reason: ClassVar[str] = "UNKNOWN"
    status: ClassVar[str] = "UNKNOWN"
    certainly_did_not_happen: ClassVar[bool] = False
    errno_name: ClassVar[str] = ""
    """What the multikernel series answers with where this is raised, such as EBUSY; or empty."""

    def __init__(self, message: str, *, advice: str = "") -> None:
        super().__init__(message)
        self.advice = advice


class InvalidArgumentError(MkrpcError):
    """A request that no state of the machine could serve: a bad vector, a malformed ICR."""

    reason = "INVALID_ARGUMENT"
    errno_name = "EINVAL"
    status = "INVALID_ARGUMENT"
    certainly_did_not_happen = True


class TopologyError(InvalidArgumentError):
    """A topology that cannot be: overlapping APIC ids, an unknown key."""

    reason = "BAD_TOPOLOGY"


class NotFoundError(MkrpcError):
    """No such instance, CPU or cluster."""

    reason = "NOT_FOUND"
    errno_name = "ENOENT"
    status = "NOT_FOUND"
    certainly_did_not_happen = True


class AlreadyExistsError(MkrpcError):
    """The instance id or APIC id belongs to somebody who lives."""

    reason = "ALREADY_EXISTS"
    errno_name = "EEXIST"
    status = "ALREADY_EXISTS"
    certainly_did_not_happen = True


class PermissionDeniedError(MkrpcError):
    """The policy, or a refusal to listen beyond this host without protection."""

    reason = "NOT_PERMITTED"
    errno_name = "EPERM"
    status = "PERMISSION_DENIED"
    certainly_did_not_happen = True


class AddressInUseError(MkrpcError):
    """Somebody else serves this address; they were left untouched."""

    reason = "ADDRESS_IN_USE"
    status = "ALREADY_EXISTS"
    certainly_did_not_happen = True


class FrameTooLargeError(MkrpcError):
    """A message beyond the size limit."""

    reason = "FRAME_TOO_LARGE"
    status = "RESOURCE_EXHAUSTED"
    certainly_did_not_happen = True


class LimitReachedError(MkrpcError):
    """A named limit was reached: try again later, or ask for less."""

    reason = "LIMIT_REACHED"
    errno_name = "ENOSPC"
    status = "RESOURCE_EXHAUSTED"
    certainly_did_not_happen = True


class ProtocolError(MkrpcError):
    """The peer said what the protocol does not allow, or speaks another version of it."""

    reason = "PROTOCOL"
    status = "FAILED_PRECONDITION"
    certainly_did_not_happen = True


class ClusterStateError(MkrpcError):
    """The cluster or instance is not in a state in which this can be done."""

    reason = "WRONG_STATE"
    status = "FAILED_PRECONDITION"
    certainly_did_not_happen = True


class InstanceBusyError(ClusterStateError):
    """What is asked for has to wait until the instance, or a CPU, is used no longer."""

    reason = "BUSY"
    errno_name = "EBUSY"


class NothingLoadedError(ClusterStateError):
    """The instance has no kernel loaded."""

    reason = "NOTHING_LOADED"
    errno_name = "EINVAL"


class NoCpuError(ClusterStateError):
    """The instance has no CPU; or nobody runs who could send to its CPUs."""

    reason = "NO_CPU"
    errno_name = "ENODEV"


class NotActiveError(ClusterStateError):
    """The instance does not run."""

    reason = "NOT_ACTIVE"
    errno_name = "EINVAL"


class FencedError(MkrpcError):
    """The incarnation is over, though its process runs: its lease has ended, or another
    interconnect serves the machine. It may do nothing more; it comes back as a new one."""

    reason = "FENCED"
    status = "FAILED_PRECONDITION"


class StartUpError(MkrpcError):
    """A process of the cluster did not start."""

    reason = "START_UP"
    status = "INTERNAL"


class StuckError(StartUpError):
    """A CPU was sent INIT and SIPI and did not come up, or a kernel did not come down."""

    reason = "STUCK"
    errno_name = "ETIMEDOUT"


class InternalError(MkrpcError):
    """The other side met a bug: all that a peer learns of it; the text stays in that side's log."""

    reason = "INTERNAL"
    status = "INTERNAL"

    def __init__(
        self,
        message: str = "a bug in the process that serves this ended the call",
        *,
        advice: str = "its log has the traceback (logs/ in the cluster's state directory)",
    ) -> None:
        super().__init__(message, advice=advice)


class UnavailableError(MkrpcError):
    """Nobody answers at the address, or the connection broke in mid-call."""

    reason = "UNAVAILABLE"
    status = "UNAVAILABLE"


class DeadlineExceededError(MkrpcError):
    """No answer within the time given; the request may still have happened."""

    reason = "DEADLINE_EXCEEDED"
    status = "DEADLINE_EXCEEDED"


def error_for_reason(reason: str) -> type[MkrpcError]:
    """The class registered for a reason; :class:`MkrpcError` itself for one unknown here."""
    return _BY_REASON.get(reason, MkrpcError)


def _subclasses(cls: type[MkrpcError]) -> list[type[MkrpcError]]:
    return [cls, *(deeper for sub in cls.__subclasses__() for deeper in _subclasses(sub))]


_BY_REASON = {cls.reason: cls for cls in _subclasses(MkrpcError)}
