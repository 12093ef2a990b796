"""Ids, names and CPUs for instances: who has what, and what is free."""

import re
from collections.abc import Iterable, Mapping, Sequence

from mkrpc.errors import (
    AlreadyExistsError,
    InstanceBusyError,
    InvalidArgumentError,
    LimitReachedError,
    PermissionDeniedError,
)
from mkrpc.limits import MAX_CPUS, MAX_INSTANCE_ID, RESERVED_NAMES

__all__ = ["choose_cpus", "choose_id", "check_name"]

_NAME = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")


def choose_id(wanted: int | None, taken: Iterable[int]) -> int:
    """The id of a new instance: the one that is wanted, else the lowest free one from 1 on.

    InvalidArgumentError (EINVAL), LimitReachedError (ENOSPC). That it exists is not asked here.
    """
    if wanted is not None:
        if not 1 <= wanted <= MAX_INSTANCE_ID:
            raise InvalidArgumentError(
                f"EINVAL: instance id {wanted}",
                advice=f"ids are 1 to {MAX_INSTANCE_ID}; 0 is the host, which the machine boots",
            )
        return wanted
    known = set(taken)
    for number in range(1, MAX_INSTANCE_ID + 1):
        if number not in known:
            return number
    raise LimitReachedError(
        f"ENOSPC: all {MAX_INSTANCE_ID} instance ids are taken", advice="delete an instance first"
    )


def check_name(name: str, names: Mapping[str, int]) -> None:
    """InvalidArgumentError (EINVAL), or AlreadyExistsError (EEXIST), naming whose it is."""
    if not _NAME.fullmatch(name) or name in RESERVED_NAMES:
        raise InvalidArgumentError(
            f"EINVAL: {name[:64]!r} is no name for an instance",
            advice="1 to 63 of a-z, 0-9 and -, beginning with a letter; not "
            f"{', '.join(RESERVED_NAMES)}",
        )
    if name in names:
        raise AlreadyExistsError(
            f"EEXIST: instance {names[name]} is called {name}", advice="choose another name"
        )


def choose_cpus(
    apic_ids: Sequence[int], count: int, *, pool: Iterable[int], owners: Mapping[int, int]
) -> tuple[int, ...]:
    """The CPUs that are named, else the ``count`` lowest of the pool; ``owners``: by APIC id, the
    instance that has it.

    InvalidArgumentError (EINVAL) for an APIC id that the machine has not, or too many;
    InstanceBusyError (EBUSY) for one that an instance has; PermissionDeniedError (EPERM) if the
    pool is empty.
    """
    free = set(pool)
    advice = f"an instance has up to {MAX_CPUS}, each once"
    if len(apic_ids) > MAX_CPUS or count > MAX_CPUS:
        raise InvalidArgumentError(f"EINVAL: {max(count, len(apic_ids))} CPUs", advice=advice)
    if len(set(apic_ids)) != len(apic_ids):
        twice = next(each for n, each in enumerate(apic_ids) if each in apic_ids[:n])
        raise InvalidArgumentError(f"EINVAL: APIC id {twice} is named twice", advice=advice)
    if not apic_ids and count and not free:
        raise PermissionDeniedError(
            "EPERM: the pool of this machine is empty",
            advice="start it with CPUs to spare, mkrpc up --pool N, or delete an instance",
        )
    if not apic_ids and count > len(free):
        raise InstanceBusyError(
            f"EBUSY: {count} CPUs, and {len(free)} are free",
            advice="ask for fewer, or delete an instance",
        )
    for apic_id in apic_ids:
        if apic_id in owners:
            raise InstanceBusyError(
                f"EBUSY: the CPU with APIC id {apic_id} belongs to instance {owners[apic_id]}",
                advice=_free(free),
            )
        if apic_id not in free:
            raise InvalidArgumentError(
                f"EINVAL: the machine has no CPU with APIC id {apic_id}", advice=_free(free)
            )
    return tuple(apic_ids) or tuple(sorted(free)[:count])


def _free(free: set[int]) -> str:
    listed = ", ".join(map(str, sorted(free)[:16])) or "none"
    return f"free for it: {listed}{', …' if len(free) > 16 else ''}"
