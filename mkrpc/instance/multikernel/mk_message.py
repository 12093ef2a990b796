"""The messages of the multikernel series, byte for byte.

``struct mk_message`` is {u32 msg_type, u32 msg_subtype, u64 msg_id, u32 payload_len, u8 payload[]},
little-endian. Its size is 24, since a u64 aligns it, but the payload begins at byte 20; a message
with n bytes of payload is 24 + n bytes on the wire, the last 4 of them padding (zero here).
Source: include/linux/multikernel.h of the multikernel tree.
"""

import struct
from dataclasses import dataclass, fields
from enum import IntEnum, IntFlag
from errno import EINVAL
from typing import ClassVar, Self

__all__ = [
    "HEADER_BYTES",
    "PAYLOAD_OFFSET",
    "AckPayload",
    "CpuPayload",
    "DevicePayload",
    "IrqFlags",
    "IrqPayload",
    "MemPayload",
    "MkMessage",
    "MkType",
    "Payload",
    "ShutdownFlags",
    "ShutdownPayload",
    "Subtype",
    "decode",
    "encode",
]

HEADER_BYTES = 24
"""sizeof(struct mk_message)."""

PAYLOAD_OFFSET = 20
"""offsetof(struct mk_message, payload)."""

_HEADER = struct.Struct("<IIQI")
assert _HEADER.size == PAYLOAD_OFFSET


class MkType(IntEnum):
    """msg_type; also the IPI type under which the message is sent."""

    MK_MSG_IO = 0x1000
    MK_MSG_RESOURCE = 0x2000
    MK_MSG_SYSTEM = 0x3000
    MK_MSG_USER = 0x4000
    MK_MSG_NETWORK = 0x5000


class Subtype(IntEnum):
    """msg_subtype; its type is in the upper bits. Those of MK_MSG_USER are free."""

    MK_IO_IRQ_FORWARD = 0x1001
    MK_IO_IRQ_BALANCE = 0x1002
    MK_IO_IRQ_MASK = 0x1003
    MK_IO_IRQ_UNMASK = 0x1004
    MK_RES_CPU_ADD = 0x2001
    MK_RES_CPU_REMOVE = 0x2002
    MK_RES_MEM_ADD = 0x2003
    MK_RES_MEM_REMOVE = 0x2004
    MK_RES_QUERY = 0x2005
    MK_RES_DEVICE_ADD = 0x2006
    MK_RES_DEVICE_REMOVE = 0x2007
    MK_RES_ACK = 0x2100
    MK_SYS_HEARTBEAT = 0x3001
    MK_SYS_SHUTDOWN = 0x3002
    MK_SYS_SHUTDOWN_ACK = 0x3003
    MK_SYS_HALTED = 0x3004
    MK_NET_VSOCK_PKT = 0x5001
    MK_NET_DATA_READY = 0x5002


class IrqFlags(IntFlag):
    """Of :class:`IrqPayload`."""

    HIGH_PRIORITY = 1
    LOW_LATENCY = 2
    EDGE = 4
    LEVEL = 8


class ShutdownFlags(IntFlag):
    """Of :class:`ShutdownPayload`."""

    GRACEFUL = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class MkMessage:
    """One message. ``msg_id`` is 0 in the series; see ``requests.MessageIds`` for others."""

    msg_type: int
    msg_subtype: int
    msg_id: int = 0
    payload: bytes = b""


def encode(message: MkMessage) -> bytes:
    """24 + n bytes. ``struct.error`` for a field that does not fit its width."""
    header = _HEADER.pack(
        message.msg_type, message.msg_subtype, message.msg_id, len(message.payload)
    )
    return header + message.payload + bytes(HEADER_BYTES - PAYLOAD_OFFSET)


def decode(data: bytes, *, ipi_type: int | None = None) -> tuple[int, MkMessage | None, str]:
    """What arrived under ``ipi_type``: 0 and the message, or -EINVAL, None and the log's line.

    Bytes behind the payload are not looked at.
    """
    if len(data) < HEADER_BYTES:
        return -EINVAL, None, f"Multikernel message too small: {len(data)} bytes"
    msg_type, msg_subtype, msg_id, length = _HEADER.unpack_from(data)
    room = len(data) - HEADER_BYTES
    if length > room:
        return -EINVAL, None, f"Multikernel message payload length invalid: {length} > {room}"
    if ipi_type is not None and msg_type != ipi_type:
        text = f"expected 0x{ipi_type:x}, got 0x{msg_type:x}"
        return -EINVAL, None, f"Multikernel message type mismatch: {text}"
    message = MkMessage(
        msg_type=msg_type,
        msg_subtype=msg_subtype,
        msg_id=msg_id,
        payload=bytes(data[PAYLOAD_OFFSET : PAYLOAD_OFFSET + length]),
    )
    return 0, message, ""


@dataclass(frozen=True, slots=True)
class Payload:
    """A payload of fixed layout; integers little-endian, with C's padding."""

    LAYOUT: ClassVar[struct.Struct]

    def encode(self) -> bytes:
        """Its bytes. ``struct.error`` for a field that does not fit its width."""
        return self.LAYOUT.pack(*(getattr(self, each.name) for each in fields(self)))

    @classmethod
    def decode(cls, data: bytes) -> Self | None:
        """From its first bytes; None if there are too few. What follows is not looked at."""
        if len(data) < cls.LAYOUT.size:
            return None
        return cls(*cls.LAYOUT.unpack_from(data))


@dataclass(frozen=True, slots=True)
class IrqPayload(Payload):
    """MK_MSG_IO: 16 bytes, four u32."""

    LAYOUT: ClassVar[struct.Struct] = struct.Struct("<IIII")
    irq_number: int
    vector: int
    device_id: int
    flags: int = 0


@dataclass(frozen=True, slots=True)
class CpuPayload(Payload):
    """CPU_ADD and CPU_REMOVE: 24 bytes. ``cpu_id`` is physical, an APIC id."""

    LAYOUT: ClassVar[struct.Struct] = struct.Struct("<QIIi4x")
    cpu_id: int
    numa_node: int
    flags: int
    sender_instance_id: int


@dataclass(frozen=True, slots=True)
class MemPayload(Payload):
    """MEM_ADD and MEM_REMOVE: 32 bytes; page frames of 4 KiB."""

    LAYOUT: ClassVar[struct.Struct] = struct.Struct("<QQIIi4x")
    start_pfn: int
    nr_pages: int
    numa_node: int
    mem_type: int
    sender_instance_id: int


@dataclass(frozen=True, slots=True)
class DevicePayload(Payload):
    """DEVICE_ADD and DEVICE_REMOVE: 76 bytes; ``driver_override`` is padded with zeros to 64."""

    LAYOUT: ClassVar[struct.Struct] = struct.Struct("<HBBI64si")
    domain: int
    bus: int
    devfn: int
    flags: int
    driver_override: bytes
    sender_instance_id: int


@dataclass(frozen=True, slots=True)
class AckPayload(Payload):
    """ACK: 16 bytes. ``result`` is 0 or a negative errno, a u32 on the wire."""

    LAYOUT: ClassVar[struct.Struct] = struct.Struct("<IiQ")
    operation: int
    result: int
    resource_id: int


@dataclass(frozen=True, slots=True)
class ShutdownPayload(Payload):
    """SHUTDOWN: 8 bytes."""

    LAYOUT: ClassVar[struct.Struct] = struct.Struct("<Ii")
    flags: int
    sender_instance_id: int
