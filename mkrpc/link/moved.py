"""Since when a CPU has had the addresses that it has (design 3.3, rule 4)."""

from typing import NamedTuple, Protocol

__all__ = ["HAS_COME", "NEVER_MOVED", "NOT_TOLD_YET", "Moved", "Registers", "Which", "moved"]

NOT_TOLD_YET = (1 << 62) - 1
"""Instead of the roster number of a change that no interconnect has acknowledged."""


class Registers(Protocol):
    """The registers of a CPU that routing goes by."""

    @property
    def mode(self) -> int: ...
    @property
    def xapic_id(self) -> int: ...
    @property
    def ldr(self) -> int: ...
    @property
    def dfr(self) -> int: ...
    @property
    def vacant(self) -> bool: ...
    @property
    def is_elsewhere(self) -> bool: ...


Which = tuple[bool, bool, bool]
"""What of a :class:`Moved` has changed."""

HAS_COME: Which = (False, False, True)
"""Of a CPU that was nowhere before."""


class Moved(NamedTuple):
    """Writes stamped below these roster numbers may have been routed by another address than the
    CPU has now: ``physically`` (shorthands and physical destinations: the mode and the xAPIC id),
    ``logically`` (the mode, LDR and DFR). ``hotplugged``: of both, at its initial APIC id: the CPU
    has left the kernel, or has come to it. 0 if it never had another one."""

    physically: int
    logically: int
    hotplugged: int = 0

    @property
    def ever(self) -> bool:
        """Whether it ever had another address."""
        return any(self)

    def at(self, number: int, which: Which) -> "Moved":
        """The same once ``which`` have changed."""
        physically, logically, hotplugged = which
        return Moved(
            number if physically else self.physically,
            number if logically else self.logically,
            number if hotplugged else self.hotplugged,
        )


NEVER_MOVED = Moved(0, 0)


def moved(before: Registers, after: Registers) -> Which:
    """Whether physical destinations name a CPU otherwise than before, whether logical ones do, and
    whether it has left or come."""
    if before.vacant != after.vacant:
        return before.is_elsewhere, False, True
    mode = before.mode != after.mode
    return (
        mode or before.xapic_id != after.xapic_id,
        mode or (before.ldr, before.dfr) != (after.ldr, after.dfr),
        False,
    )
