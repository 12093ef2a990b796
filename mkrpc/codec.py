"""CPUs on the wire: the translator between ``mkrpc.v1`` and the model that both planes use.

Everything that arrives is untrusted: a message that parses may still be nonsense, and an empty
one parses always. What cannot be is a :class:`ProtocolError`. Frames are in
:mod:`mkrpc.frame_codec`; nothing else translates.
"""

from typing import Any

from mkrpc.errors import ProtocolError
from mkrpc.link.frames import CpuAccount, CpuAddress, CpuView, LogRecord, VectorCount
from mkrpc.v1 import types_pb2 as types
from mkrpc.x86.lapic import ApicMode

__all__ = [
    "cpu_account_from_pb",
    "cpu_account_to_pb",
    "cpu_address_from_pb",
    "cpu_address_to_pb",
    "cpu_view_from_pb",
    "cpu_view_to_pb",
    "log_record_from_pb",
    "log_record_to_pb",
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
    )


def cpu_address_from_pb(pb: types.CpuAddress) -> CpuAddress:
    """A routing address from its message; :class:`ProtocolError` for a mode that is none."""
    mode = _MODE_FROM_PB.get(pb.mode)
    if mode is None:
        raise ProtocolError(f"CPU {pb.cpu} names APIC mode {pb.mode}, which does not exist")
    return CpuAddress(pb.cpu, pb.apic_id, mode, pb.xapic_id, pb.ldr, pb.dfr, pb.software_enabled)


def _register_to_pb(value: int) -> bytes:
    return value.to_bytes((value.bit_length() + 7) // 8, "little")


def _register_from_pb(value: bytes) -> int:
    if len(value) > _REGISTER_BYTES:
        raise ProtocolError(f"a 256-bit register of {len(value)} bytes")
    return int.from_bytes(value, "little")


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
        vectors=[
            types.VectorCount(
                vector=count.vector,
                delivered=count.delivered,
                coalesced=count.coalesced,
                handled=count.handled,
                eoi=count.eoi,
                discarded=count.discarded,
            )
            for count in account.vectors
        ],
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
        vectors=[
            VectorCount(c.vector, c.delivered, c.coalesced, c.handled, c.eoi, c.discarded)
            for c in pb.vectors
        ],
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
