"""Accounts of CPUs straight from bytes, and to them, as part of a common frame."""

from typing import Final

from mkrpc.link.accounts import CpuAccount, VectorCount
from mkrpc.wire_fields import (
    UncommonError,
    flag,
    inside,
    number_to_bytes,
    short,
    short_to_bytes,
    sized,
    varint,
)
from mkrpc.wire_tags import (
    ACCOUNT_ACTIVITY,
    ACCOUNT_CPU,
    ACCOUNT_INTERRUPTS_ENABLED,
    ACCOUNT_IRR,
    ACCOUNT_ISR,
    ACCOUNT_MULTIKERNEL,
    ACCOUNT_PPR,
    ACCOUNT_STATS,
    ACCOUNT_TPR,
    ACCOUNT_VECTORS,
    STAT_COUNT,
    STAT_FIELD,
    VECTOR_COALESCED,
    VECTOR_DELIVERED,
    VECTOR_DISCARDED,
    VECTOR_EOI,
    VECTOR_HANDLED,
    VECTOR_VECTOR,
)

__all__ = ["account_from_bytes", "account_to_bytes"]

_REGISTER_BYTES: Final = 32

_CPU: Final = bytes((ACCOUNT_CPU,))
_IRR: Final = bytes((ACCOUNT_IRR,))
_ISR: Final = bytes((ACCOUNT_ISR,))
_TPR: Final = bytes((ACCOUNT_TPR,))
_PPR: Final = bytes((ACCOUNT_PPR,))
_INTERRUPTS_ENABLED: Final = bytes((ACCOUNT_INTERRUPTS_ENABLED, 1))
_ACTIVITY: Final = bytes((ACCOUNT_ACTIVITY,))
_MULTIKERNEL: Final = bytes((ACCOUNT_MULTIKERNEL,))
_VECTORS: Final = bytes((ACCOUNT_VECTORS,))
_STATS: Final = bytes((ACCOUNT_STATS,))
_VECTOR: Final = bytes((VECTOR_VECTOR,))
_DELIVERED: Final = bytes((VECTOR_DELIVERED,))
_COALESCED: Final = bytes((VECTOR_COALESCED,))
_HANDLED: Final = bytes((VECTOR_HANDLED,))
_EOI: Final = bytes((VECTOR_EOI,))
_DISCARDED: Final = bytes((VECTOR_DISCARDED,))
_STAT_FIELD: Final = bytes((STAT_FIELD,))
_STAT_COUNT: Final = bytes((STAT_COUNT,))


def account_to_bytes(account: CpuAccount) -> bytes:
    """An account as the message CpuAccount."""
    out = b""
    if account.cpu:
        out = _CPU + short_to_bytes(account.cpu)
    if account.irr:
        out += _IRR + _register_to_bytes(account.irr)
    if account.isr:
        out += _ISR + _register_to_bytes(account.isr)
    if account.tpr:
        out += _TPR + short_to_bytes(account.tpr)
    if account.ppr:
        out += _PPR + short_to_bytes(account.ppr)
    if account.interrupts_enabled:
        out += _INTERRUPTS_ENABLED
    if account.activity:
        out += _ACTIVITY + sized(account.activity.encode())
    if account.multikernel:
        out += _MULTIKERNEL + number_to_bytes(account.multikernel)
    for count in account.vectors:
        out += _VECTORS + sized(_vector_to_bytes(count))
    for field, number in account.stats.items():
        out += _STATS + sized(_stat_to_bytes(field, number))
    return out


def _register_to_bytes(value: int) -> bytes:
    return sized(value.to_bytes((value.bit_length() + 7) // 8, "little"))


def _vector_to_bytes(count: VectorCount) -> bytes:
    out = b""
    if count.vector:
        out = _VECTOR + short_to_bytes(count.vector)
    if count.delivered:
        out += _DELIVERED + number_to_bytes(count.delivered)
    if count.coalesced:
        out += _COALESCED + number_to_bytes(count.coalesced)
    if count.handled:
        out += _HANDLED + number_to_bytes(count.handled)
    if count.eoi:
        out += _EOI + number_to_bytes(count.eoi)
    if count.discarded:
        out += _DISCARDED + number_to_bytes(count.discarded)
    return out


def _stat_to_bytes(field: int, number: int) -> bytes:
    out = b""
    if field:
        out = _STAT_FIELD + short_to_bytes(field)
    if number:
        out += _STAT_COUNT + number_to_bytes(number)
    return out


def account_from_bytes(data: bytes, at: int) -> tuple[CpuAccount, int]:
    """An account, and where it ends."""
    at, end = inside(data, at)
    cpu = irr = isr = tpr = ppr = multikernel = 0
    interrupts_enabled = False
    activity = ""
    vectors: list[VectorCount] = []
    stats: dict[int, int] = {}
    tag = data[at] if at < end else 0
    if tag == ACCOUNT_CPU:
        cpu, at = short(data, at + 1)
        tag = data[at] if at < end else 0
    if tag == ACCOUNT_IRR:
        irr, at = _register_from_bytes(data, at + 1)
        tag = data[at] if at < end else 0
    if tag == ACCOUNT_ISR:
        isr, at = _register_from_bytes(data, at + 1)
        tag = data[at] if at < end else 0
    if tag == ACCOUNT_TPR:
        tpr, at = short(data, at + 1)
        tag = data[at] if at < end else 0
    if tag == ACCOUNT_PPR:
        ppr, at = short(data, at + 1)
        tag = data[at] if at < end else 0
    if tag == ACCOUNT_INTERRUPTS_ENABLED:
        interrupts_enabled, at = flag(data, at + 1)
        tag = data[at] if at < end else 0
    if tag == ACCOUNT_ACTIVITY:
        at, text_end = inside(data, at + 1)
        activity, at = data[at:text_end].decode(), text_end
        tag = data[at] if at < end else 0
    if tag == ACCOUNT_MULTIKERNEL:
        multikernel, at = varint(data, at + 1)
        tag = data[at] if at < end else 0
    while tag == ACCOUNT_VECTORS:
        count, at = _vector_from_bytes(data, at + 1)
        vectors.append(count)
        tag = data[at] if at < end else 0
    while tag == ACCOUNT_STATS:
        field, number, at = _stat_from_bytes(data, at + 1)
        stats[field] = number
        tag = data[at] if at < end else 0
    if at != end:
        raise UncommonError
    return CpuAccount(
        cpu, irr, isr, tpr, ppr, interrupts_enabled, activity, multikernel, vectors, stats
    ), end


def _register_from_bytes(data: bytes, at: int) -> tuple[int, int]:
    at, end = inside(data, at)
    if end - at > _REGISTER_BYTES:
        raise UncommonError
    return int.from_bytes(data[at:end], "little"), end


def _vector_from_bytes(data: bytes, at: int) -> tuple[VectorCount, int]:
    at, end = inside(data, at)
    vector = delivered = coalesced = handled = eoi = discarded = 0
    tag = data[at] if at < end else 0
    if tag == VECTOR_VECTOR:
        vector, at = short(data, at + 1)
        tag = data[at] if at < end else 0
    if tag == VECTOR_DELIVERED:
        delivered, at = varint(data, at + 1)
        tag = data[at] if at < end else 0
    if tag == VECTOR_COALESCED:
        coalesced, at = varint(data, at + 1)
        tag = data[at] if at < end else 0
    if tag == VECTOR_HANDLED:
        handled, at = varint(data, at + 1)
        tag = data[at] if at < end else 0
    if tag == VECTOR_EOI:
        eoi, at = varint(data, at + 1)
        tag = data[at] if at < end else 0
    if tag == VECTOR_DISCARDED:
        discarded, at = varint(data, at + 1)
    if at != end:
        raise UncommonError
    return VectorCount(vector, delivered, coalesced, handled, eoi, discarded), end


def _stat_from_bytes(data: bytes, at: int) -> tuple[int, int, int]:
    at, end = inside(data, at)
    field = number = 0
    if at < end and data[at] == STAT_FIELD:
        field, at = short(data, at + 1)
    if at < end and data[at] == STAT_COUNT:
        number, at = varint(data, at + 1)
    if at != end:
        raise UncommonError
    return field, number, end
