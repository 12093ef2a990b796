"""Requests that another instance acknowledges: ids, time-outs, and who may answer.

Upstream keys its table of pending requests by (type, operation, resource id) and sends msg_id 0, so
that a late ACK of a request that has timed out completes a newer one for the same resource, and an
ACK from anybody completes it at all. Here every message has an id of its own, and an ACK counts
only if it carries the id of the request and comes from the instance that was asked.
``unique_ids=False`` is the upstream way.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from errno import ETIMEDOUT

from mkrpc.errors import AlreadyExistsError, InvalidArgumentError, LimitReachedError
from mkrpc.instance.multikernel.mk_message import MkType
from mkrpc.limits import MAX_INSTANCE_ID

__all__ = [
    "MAX_PENDING",
    "MAX_SPAWN",
    "RESOURCE_TIMEOUT_US",
    "SHUTDOWN_TIMEOUT_US",
    "MessageIds",
    "PendingRequests",
    "Request",
]

RESOURCE_TIMEOUT_US = 10_000_000
"""For the ACK of a request about a CPU, memory or a device."""

SHUTDOWN_TIMEOUT_US = 30_000_000
"""For the ACK of a shutdown."""

MAX_PENDING = 1024
"""Requests of one instance that wait at a time."""

MAX_SPAWN = (1 << 22) - 1
"""The highest spawn number in a message id."""

_SEQUENCE_BITS = 32
_SPAWN_BITS = 22


class MessageIds:
    """Ids that no two messages share, nor those of two lives of one instance.

    10 bits of instance id plus one, 22 of ``spawn``, 32 of a count from 1. ``spawn``, 0 to
    MAX_SPAWN, numbers the lives of the instance: whoever starts it must count it up. 0 is never an
    id: it is what upstream sends.
    """

    __slots__ = ("_prefix", "_sequence")

    def __init__(self, instance_id: int, *, spawn: int) -> None:
        if not 0 <= instance_id <= MAX_INSTANCE_ID:
            raise InvalidArgumentError(f"instance {instance_id}: ids are 0 to {MAX_INSTANCE_ID}")
        if not 0 <= spawn <= MAX_SPAWN:
            raise InvalidArgumentError(f"spawn {spawn}: spawns are numbered 0 to {MAX_SPAWN}")
        self._prefix = ((instance_id + 1) << _SPAWN_BITS | spawn) << _SEQUENCE_BITS
        self._sequence = 0

    def next(self) -> int:
        """The next one, 64 bits. Raises LimitReachedError after 2**32 - 1 of one life."""
        if self._sequence + 1 >> _SEQUENCE_BITS:
            raise LimitReachedError(
                "this life of the instance has used up its message ids",
                advice="start it again: another life has ids of its own",
            )
        self._sequence += 1
        return self._prefix | self._sequence


@dataclass(slots=True, kw_only=True)
class Request:
    """One request on its way. ``result``: None while it waits, then 0 or a negative errno."""

    msg_id: int
    target: int
    msg_type: int
    operation: int
    resource_id: int
    deadline_us: int
    result: int | None = field(default=None)


class PendingRequests:
    """The requests of one instance that wait for their ACK, on a clock that is passed in.

    ``now_us`` is read, never waited for: :meth:`poll` and :meth:`expire` find what is too late.
    ``warn`` is given the log's line of each time-out.
    """

    def __init__(
        self,
        now_us: Callable[[], int],
        *,
        ids: MessageIds,
        unique_ids: bool = True,
        warn: Callable[[str], object] = lambda _text: None,
    ) -> None:
        self._now_us = now_us
        self._ids = ids
        self._unique_ids = unique_ids
        self._warn = warn
        self._pending: dict[tuple[int, ...], Request] = {}

    def __len__(self) -> int:
        return len(self._pending)

    def open(self, target: int, *, msg_type: int, operation: int, resource_id: int) -> Request:
        """A request that is about to be sent; its time begins now: 30 s for one of
        MK_MSG_SYSTEM, 10 s otherwise.

        Raises LimitReachedError at MAX_PENDING; without unique ids AlreadyExistsError while another
        one for the same operation and resource waits.
        """
        self.expire()
        if len(self._pending) >= MAX_PENDING:
            raise LimitReachedError(
                f"{MAX_PENDING} requests wait for their ACK",
                advice="wait until some have it or have timed out",
            )
        is_shutdown = msg_type == MkType.MK_MSG_SYSTEM
        timeout_us = SHUTDOWN_TIMEOUT_US if is_shutdown else RESOURCE_TIMEOUT_US
        request = Request(
            msg_id=self._ids.next() if self._unique_ids else 0,
            target=target,
            msg_type=msg_type,
            operation=operation,
            resource_id=resource_id,
            deadline_us=self._now_us() + timeout_us,
        )
        key = self._key(request.msg_id, msg_type, operation, resource_id)
        if key in self._pending:
            raise AlreadyExistsError(
                f"operation 0x{operation:x} on resource {resource_id} is pending already",
                advice="wait for its answer, or use unique ids",
            )
        self._pending[key] = request
        return request

    def acknowledge(
        self,
        sender: int | None,
        *,
        msg_id: int,
        msg_type: int,
        operation: int,
        resource_id: int,
        result: int,
    ) -> Request | None:
        """An ACK arrived; the request that it completes, None if it completes none.

        ``sender``: the instance that the channel vouches for; None if the channel cannot tell, in
        which case the id alone decides. Without unique ids neither is looked at.
        """
        self.expire()
        key = self._key(msg_id, msg_type, operation, resource_id)
        request = self._pending.get(key)
        if request is None:
            return None
        if self._unique_ids and (
            (request.msg_type, request.operation, request.resource_id)
            != (msg_type, operation, resource_id)
            or sender not in (None, request.target)
        ):
            return None
        del self._pending[key]
        request.result = result
        return request

    def cancel(self, request: Request, result: int) -> None:
        """It was not sent after all."""
        key = self._key(request.msg_id, request.msg_type, request.operation, request.resource_id)
        if self._pending.get(key) is request:
            del self._pending[key]
            request.result = result

    def poll(self, request: Request) -> int | None:
        """Its result, None while it waits."""
        self.expire()
        return request.result

    def expire(self) -> list[Request]:
        """Those whose time is over: they end with -ETIMEDOUT and a line of the log."""
        now_us = self._now_us()
        late = [(key, each) for key, each in self._pending.items() if each.deadline_us <= now_us]
        for key, request in late:
            del self._pending[key]
            request.result = -ETIMEDOUT
            self._warn(
                f"Timeout waiting for operation 0x{request.operation:x} "
                f"on resource {request.resource_id}"
            )
        return [request for _, request in late]

    def _key(self, msg_id: int, *upstream: int) -> tuple[int, ...]:
        return (msg_id,) if self._unique_ids else upstream
