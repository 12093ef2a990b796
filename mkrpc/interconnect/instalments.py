"""Calls of very many writes, made in instalments: a call whose writes end at once, as those do that
are refused, would else be made to its end in one go, and everybody would wait for that.
"""

from mkrpc.interconnect.clients import Call

__all__ = ["MAX_INSTALMENT", "Instalments"]

MAX_INSTALMENT = 8192
"""Writes of one call that are made in one go; the next ones when it is the clients' turn again."""


class Instalments:
    """Calls that wait for their next one."""

    __slots__ = ("_made", "_waiting")

    def __init__(self) -> None:
        self._made: dict[Call, int] = {}
        """Of large calls that are not made to their end: how much of the present instalment is."""
        self._waiting: dict[Call, None] = {}

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def may_make(self, call: Call) -> bool:
        """Whether more of it may be made now. If not, it waits."""
        if call.count <= MAX_INSTALMENT or self._made.get(call, 0) < MAX_INSTALMENT:
            return True
        self._waiting[call] = None
        return False

    def made(self, call: Call, count: int) -> None:
        """So many more of its writes are about to be made, which ``written`` counts already."""
        if call.tally.written == call.count:
            if self._made:
                self._made.pop(call, None)
        elif call.count > MAX_INSTALMENT:
            self._made[call] = self._made.get(call, 0) + count

    def take(self) -> list[Call]:
        """Those that have waited: for each a new one begins."""
        waiting, self._waiting = self._waiting, {}
        for call in waiting:
            del self._made[call]
        return list(waiting)
