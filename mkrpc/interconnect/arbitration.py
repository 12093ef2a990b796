"""Lowest priority: who wins among several destinations (R32)."""

from collections.abc import Sequence
from typing import Literal

from mkrpc.interconnect.targets import Target, software_enabled

__all__ = ["Arbitration", "lowest_priority"]

Arbitration = Literal["ppr", "hash"]
"""Who gets a lowest-priority IPI (R32). ``ppr``: the lowest PPR, ties in turn, as in Xen. ``hash``:
the n-th candidate in ascending order of APIC ids, n being the vector modulo their number, as KVM's
vector hashing does where LDRs follow the ids."""


def lowest_priority(
    targets: Sequence[Target], vector: int, arbitration: Arbitration
) -> Sequence[Target]:
    """Those who win: permitted, if any is; of these software-enabled, if any is (R37); of these
    those with the lowest PPR, or the one that the vector points at (R32)."""
    permitted = [target for target in targets if target.refusal is None] or targets
    enabled = [target for target in permitted if software_enabled(target)] or permitted
    if arbitration == "hash":
        return (enabled[vector % len(enabled)],)
    priorities = [_priority(target) for target in enabled]
    lowest = min(priorities)
    return [
        target for target, priority in zip(enabled, priorities, strict=True) if priority == lowest
    ]


def _priority(target: Target) -> int:
    assert target.session is not None
    return target.session.mirror.ppr(target.cpu)
