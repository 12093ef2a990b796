"""The calls of a client that have one kernel send something to another (docs/messages.md)."""

from dataclasses import dataclass
from math import inf
from typing import Any

from mkrpc.client.calls import Caller
from mkrpc.client.numbers import check_apic_id, check_bits, check_instance_id
from mkrpc.errors import InvalidArgumentError
from mkrpc.v1 import control_pb2 as pb

__all__ = ["USER_MESSAGE", "ErrandCalls", "MessageEnd"]

USER_MESSAGE = 0x4000
"""MK_MSG_USER, the type that is free for anybody's use."""

_ANSWER_S = 15.0
"""Seconds that a request to another kernel may take, which gives up after 10 s."""


@dataclass(frozen=True, slots=True)
class MessageEnd:
    """What became of a message.

    ``way``: ``memory`` or ``interconnect``. ``fate``: ``taken``; ``waiting``, where the receiver
    will find it if it ever looks; ``left`` in the ring of an incarnation that has ended, which may
    have taken it or not; or an outcome, such as ``lost(target_dead)``.
    """

    way: str
    fate: str

    @property
    def taken(self) -> bool:
        """Whether the receiver has taken it."""
        return self.fate == "taken"


class ErrandCalls(Caller):
    """The part of :class:`mkrpc.client.Client` that has kernels talk to each other.

    Each raises what the errno of the sending kernel stands for: LimitReachedError (ENOSPC),
    InvalidArgumentError (EINVAL), NoCpuError (ENODEV), InstanceBusyError (EBUSY), StuckError (EIO,
    ETIMEDOUT); NotFoundError for an instance that does not run, ClusterStateError for one that
    takes no messages. After UnavailableError or DeadlineExceededError it may have happened.
    """

    _stub: Any

    def send_message(
        self,
        sender: int,
        target: int,
        text: str,
        *,
        ipi_type: int = USER_MESSAGE,
        patience_s: float = 5.0,
    ) -> MessageEnd:
        """Have an instance send 1 to 256 bytes to another one and ring it; returns once they are
        taken, or can be no more, or after ``patience_s``."""
        if not 0 <= patience_s < inf:
            raise InvalidArgumentError(
                f"a message cannot be watched for {patience_s:g} s", advice="give 0 s or more"
            )
        request = pb.SendMessageRequest(
            sender=check_instance_id(sender),
            target=check_instance_id(target),
            ipi_type=check_bits("message type", ipi_type, 32),
            text=text,
            patience_us=check_bits("patience in microseconds", round(patience_s * 1e6), 64),
        )
        limit_s = self.timeout_s + patience_s
        answer = self._call(self._stub.SendMessage, request, limit_s=limit_s)
        return MessageEnd(answer.way, answer.fate)

    def ask_for_cpu(self, asker: int, apic_id: int, *, online: bool) -> int:
        """Have an instance ask the owner of a CPU, by message, to bring it up or to take it
        offline; returns the owner's id once that has done it."""
        request = pb.AskForCpuRequest(
            asker=check_instance_id(asker), apic_id=check_apic_id(apic_id), online=online
        )
        limit_s = max(self.timeout_s, _ANSWER_S)
        return int(self._call(self._stub.AskForCpu, request, limit_s=limit_s).owner)
