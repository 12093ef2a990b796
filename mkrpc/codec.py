"""CPUs on the wire: the translator between ``mkrpc.v1`` and the model that both planes use.

Everything that arrives is untrusted: a message that parses may still be nonsense, and an empty
one parses always. What cannot be is a :class:`ProtocolError`. Frames are in
:mod:`mkrpc.frame_codec`; nothing else translates.
"""

from typing import Any

from mkrpc.errors import ProtocolError
from mkrpc.link.frames import (
    CpuAccount,
    CpuAddress,
    CpuView,
    LogRecord,
    PendingView,
    VectorCount,
)
from mkrpc.v1 import types_pb2 as types
from mkrpc.x86.irq_vectors import NR_VECTORS
from mkrpc.x86.lapic import ApicMode
from mkrpc.x86.pending import CoreState

__all__ = [
    "core_state_from_pb",
    "core_state_to_pb",
    "cpu_account_from_pb",
    "cpu_account_to_pb",
    "cpu_address_from_pb",
    "cpu_address_to_pb",
    "cpu_view_from_pb",
    "cpu_view_to_pb",
    "log_record_from_pb",
    "log_record_to_pb",
    "pending_view_from_pb",
    "pending_view_to_pb",
    "vector_count_from_pb",
    "vector_count_to_pb",
]

_REGISTER_BYTES = 32

_MODE_TO_PB: dict[ApicMode, Any] = {  # the generated enum's type is not an int to mypy
    mode: types.ApicMode.Value(f"APIC_MODE_{mode.name}") for mode in ApicMode
}
_MODE_FROM_PB = {number: int(mode) for mode, number in _MODE_TO_PB.items()}


def cpu_address_to_pb(address: CpuAddress) -> types.CpuAddress:
    """A routing address as its message."""
    return types.CpuAddress(
        cpu=address.cpu,
        apic_id=address.apic_id,
        mode=_MODE_TO_PB[ApicMode(address.mode)],
        xapic_id=address.xapic_id,
        ldr=address.ldr,
        dfr=address.dfr,
        software_enabled=address.software_enabled,
        vacant=address.vacant,
    )


def cpu_address_from_pb(pb: types.CpuAddress) -> CpuAddress:
    """A routing address from its message; :class:`ProtocolError` for a mode that is none."""
    mode = _MODE_FROM_PB.get(pb.mode)
    if mode is None:
        raise ProtocolError(f"CPU {pb.cpu} names APIC mode {pb.mode}, which does not exist")
    return CpuAddress(
        pb.cpu, pb.apic_id, mode, pb.xapic_id, pb.ldr, pb.dfr, pb.software_enabled, pb.vacant
    )


def _register_to_pb(value: int) -> bytes:
    return value.to_bytes((value.bit_length() + 7) // 8, "little")


def _register_from_pb(value: bytes) -> int:
    if len(value) > _REGISTER_BYTES:
        raise ProtocolError(f"a 256-bit register of {len(value)} bytes")
    return int.from_bytes(value, "little")


def vector_count_to_pb(count: VectorCount) -> types.VectorCount:
    """The counts of a vector as their message."""
    return types.VectorCount(
        vector=count.vector,
        delivered=count.delivered,
        coalesced=count.coalesced,
        handled=count.handled,
        eoi=count.eoi,
        discarded=count.discarded,
    )


def vector_count_from_pb(c: types.VectorCount) -> VectorCount:
    """The counts of a vector from their message."""
    return VectorCount(c.vector, c.delivered, c.coalesced, c.handled, c.eoi, c.discarded)


def cpu_account_to_pb(account: CpuAccount) -> types.CpuAccount:
    """A CPU's accounting as its message."""
    return types.CpuAccount(
        cpu=account.cpu,
        irr=_register_to_pb(account.irr),
        isr=_register_to_pb(account.isr),
        tpr=account.tpr,
        ppr=account.ppr,
        interrupts_enabled=account.interrupts_enabled,
        activity=account.activity,
        multikernel=account.multikernel,
        vectors=[vector_count_to_pb(count) for count in account.vectors],
        stats=[
            types.IrqStatCount(field=field, count=count) for field, count in account.stats.items()
        ],
    )


def cpu_account_from_pb(pb: types.CpuAccount) -> CpuAccount:
    """A CPU's accounting from its message."""
    return CpuAccount(
        cpu=pb.cpu,
        irr=_register_from_pb(pb.irr),
        isr=_register_from_pb(pb.isr),
        tpr=pb.tpr,
        ppr=pb.ppr,
        interrupts_enabled=pb.interrupts_enabled,
        activity=pb.activity,
        multikernel=pb.multikernel,
        vectors=[vector_count_from_pb(count) for count in pb.vectors],
        stats={stat.field: stat.count for stat in pb.stats},
    )


def cpu_view_to_pb(view: CpuView) -> types.CpuView:
    """A CPU with its registers as its message."""
    return types.CpuView(
        account=cpu_account_to_pb(view.account),
        apic_id=view.apic_id,
        mode=_MODE_TO_PB[ApicMode(view.mode)],
        registers=view.registers,
    )


def cpu_view_from_pb(pb: types.CpuView) -> CpuView:
    """A CPU with its registers from its message."""
    mode = _MODE_FROM_PB.get(pb.mode)
    if mode is None:
        raise ProtocolError(f"APIC {pb.apic_id} is said to be in mode {pb.mode}")
    return CpuView(cpu_account_from_pb(pb.account), pb.apic_id, mode, dict(pb.registers))


def log_record_to_pb(record: LogRecord) -> types.LogRecord:
    """A line of a kernel's log as its message."""
    number, level, time_us, cpu, text = record
    return types.LogRecord(number=number, level=level, time_us=time_us, cpu=cpu, text=text)


def log_record_from_pb(pb: types.LogRecord) -> LogRecord:
    """A line of a kernel's log from its message."""
    return LogRecord(pb.number, pb.level, pb.time_us, pb.cpu, pb.text)


_SAME_IN_CORE_STATE = (
    *("cpu", "tpr", "ppr", "interrupts_enabled", "activity", "software_enabled", "known"),
    *("interrupt_shadow", "nmi_latched", "nmi_in_service", "stopped", "panic", "storm"),
    *("congested", "waits_to_write", "program", "entered"),
)
"""Fields that are alike in the dataclass and in the message."""


def core_state_to_pb(core: CoreState) -> types.CoreState:
    """A CPU's state as its message."""
    return types.CoreState(
        irr=_register_to_pb(core.irr),
        isr=_register_to_pb(core.isr),
        mode=_MODE_TO_PB[ApicMode(core.mode)],
        handlers=core.handlers,
        **{name: getattr(core, name) for name in _SAME_IN_CORE_STATE},
    )


def core_state_from_pb(pb: types.CoreState) -> CoreState:
    """A CPU's state from its message; :class:`ProtocolError` for what no CPU has."""
    mode = _MODE_FROM_PB.get(pb.mode)
    if mode is None or max((pb.tpr, pb.ppr, *pb.handlers)) >= NR_VECTORS:
        raise ProtocolError(f"CPU {pb.cpu} is said to be in a state that no CPU has")
    return CoreState(
        irr=_register_from_pb(pb.irr),
        isr=_register_from_pb(pb.isr),
        mode=mode,
        handlers=tuple(pb.handlers),
        **{name: getattr(pb, name) for name in _SAME_IN_CORE_STATE},
    )


def pending_view_to_pb(view: PendingView) -> types.PendingView:
    """What bears on a vector as its message."""
    return types.PendingView(
        core=core_state_to_pb(view.core), counts=vector_count_to_pb(view.counts)
    )


def pending_view_from_pb(pb: types.PendingView) -> PendingView:
    """What bears on a vector from its message."""
    return PendingView(core_state_from_pb(pb.core), vector_count_from_pb(pb.counts))
