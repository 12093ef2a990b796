"""The roster number: it rises with all that changes where writes go (design 3.3, rule 3)."""

__all__ = ["RosterCount"]


class RosterCount:
    """``number``: the highest so far. ``last_end``: the one of the last end, 0 for none yet;
    ``last_end_elsewhere``: of the last one of somebody who could be reached elsewhere than at his
    initial APIC ids (:attr:`~mkrpc.interconnect.takeover.Incarnation.elsewhere`).

    A source stamps its writes with the highest number that it has been told, so that the next
    interconnect can tell who was born or changed an address, and whether somebody ended, after a
    write was made. It must
    therefore never run backwards, over all interconnects of a machine. Nobody is born at 1: that is
    the stamp of those who had been told no number yet.
    """

    __slots__ = ("last_end", "last_end_elsewhere", "number")

    def __init__(self, number: int = 0, last_end: int = 0, last_end_elsewhere: int = 0) -> None:
        self.number = max(1, number)
        self.last_end = last_end
        self.last_end_elsewhere = last_end_elsewhere

    def born(self) -> int:
        """Somebody begins: the new number."""
        self.number += 1
        return self.number

    def ended(self, *, elsewhere: bool) -> int:
        """Somebody ends: the new number."""
        self.number += 1
        self.last_end = self.number
        if elsewhere:
            self.last_end_elsewhere = self.number
        return self.number

    def moved(self) -> int:
        """A CPU has another address: the new number. What was routed before has a lower stamp."""
        self.number += 1
        return self.number

    def heard_of(self, number: int) -> None:
        """An earlier interconnect had got to this number."""
        self.number = max(self.number, number)
