"""How many byte streams a server takes."""

from mkrpc.errors import LimitReachedError, MkrpcError, UnavailableError
from mkrpc.transport.address import Address
from mkrpc.transport.descriptors import room_for_connections

__all__ = ["Admission"]


class Admission:
    """Refuses streams beyond ``max_connections``, beyond the descriptors there are, and at the end.

    ``stopping``: from now on everybody is refused.
    """

    def __init__(self, max_connections: int) -> None:
        room = room_for_connections()
        self._most = min(max_connections, room)
        self._descriptors_are_few = room < max_connections
        self.stopping = False

    def refusal(self, held: int, where: Address | None) -> MkrpcError | None:
        """Why a server at ``where`` that holds so many streams takes no other one; or None."""
        if self.stopping:
            return UnavailableError(f"the server at {where} is stopping")
        if held < self._most:
            return None
        why, advice = "its limit", "end instances that are not needed, or try again later"
        if self._descriptors_are_few:
            why = "all that its limit of open files leaves room for"
            advice = "start it again under a higher limit of open files (ulimit -n)"
        return LimitReachedError(
            f"the server at {where} holds {self._most} connections, {why}", advice=advice
        )
