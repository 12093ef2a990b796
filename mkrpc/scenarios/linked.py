"""Kernels of one CPU each that send each other messages over one channel."""

from collections.abc import Callable, Mapping
from typing import Any

from mkrpc.instance.kernel import KernelConfig
from mkrpc.instance.multikernel.channel import Channel
from mkrpc.instance.multikernel.ipi import MultikernelIpi
from mkrpc.instance.multikernel.ipi_switches import IpiSwitches
from mkrpc.scenarios.stage import Stage

__all__ = ["DATA_BYTES", "USER_TYPE", "linked", "numbered"]

USER_TYPE = 0x4000
"""MK_MSG_USER."""

DATA_BYTES = 64
"""Bytes of one message at most."""


def linked(
    stage: Stage,
    channel: Callable[..., Channel],
    *,
    kernels: int,
    switches: IpiSwitches | None = None,
    more_bytes: int = 0,
    **config: Any,
) -> list[MultikernelIpi]:
    """Boot kernels 0 to ``kernels`` - 1, CPU n with APIC id n, and give each its end.

    ``switches``: of all of them. ``more_bytes``: of memory behind the channel's. ``config``: what
    else their KernelConfig says.
    """
    instances = range(kernels)
    ends = [channel(instances, own=own, max_data=DATA_BYTES) for own in instances]
    machine = stage.set_up(
        [KernelConfig(instance_id=n, name=f"mk{n}", apic_ids=(n,), **config) for n in instances],
        memory_bytes=ends[0].memory_bytes + more_bytes,
    )
    doorbells: Mapping[int, int] = {n: n for n in instances}
    return [
        MultikernelIpi(
            machine.kernels[n], ends[n], doorbells=doorbells, switches=switches or IpiSwitches()
        )
        for n in instances
    ]


def numbered(sender: int, index: int, size: int = 16) -> bytes:
    """A message of which every 4 bytes tell which one it is."""
    return (sender << 16 | index).to_bytes(4, "little") * (size // 4)
