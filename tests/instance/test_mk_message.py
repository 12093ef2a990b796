"""The codec of the multikernel messages, byte for byte (include/linux/multikernel.h)."""

import struct
from errno import EINVAL

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mkrpc.instance.multikernel.mk_message import (
    HEADER_BYTES,
    PAYLOAD_OFFSET,
    AckPayload,
    CpuPayload,
    DevicePayload,
    IrqFlags,
    IrqPayload,
    MemPayload,
    MkMessage,
    MkType,
    ShutdownFlags,
    ShutdownPayload,
    Subtype,
    decode,
    encode,
)


def message(payload: bytes = b"", **fields: int) -> MkMessage:
    fields = {"msg_type": 0x2000, "msg_subtype": 0x2001} | fields
    return MkMessage(payload=payload, **fields)


@pytest.mark.parametrize(
    ("given_message", "wire"),
    [
        (message(), "00200000 01200000 0000000000000000 00000000 00000000"),
        (message(b"\xab"), "00200000 01200000 0000000000000000 01000000 ab 00000000"),
        (
            message(b"\x01\x02\x03", msg_id=0x1122334455667788),
            "00200000 01200000 8877665544332211 03000000 010203 00000000",
        ),
        (
            message(
                ShutdownPayload(ShutdownFlags.GRACEFUL, 5).encode(),
                msg_type=MkType.MK_MSG_SYSTEM,
                msg_subtype=Subtype.MK_SYS_SHUTDOWN,
            ),
            "00300000 02300000 0000000000000000 08000000 01000000 05000000 00000000",
        ),
    ],
    ids=["empty", "one byte", "with an id", "shutdown"],
)
def test_a_message_is_these_bytes(given_message: MkMessage, wire: str):
    data = encode(given_message)
    assert data == bytes.fromhex(wire)
    assert len(data) == HEADER_BYTES + len(given_message.payload) == 24 + len(given_message.payload)
    assert data[PAYLOAD_OFFSET : PAYLOAD_OFFSET + len(given_message.payload)] == (
        given_message.payload
    )
    assert PAYLOAD_OFFSET == 20
    assert decode(data, ipi_type=given_message.msg_type) == (0, given_message, "")


@pytest.mark.parametrize(
    ("payload", "wire"),
    [
        (
            IrqPayload(9, 0xEA, 3, IrqFlags.HIGH_PRIORITY | IrqFlags.LEVEL),
            "09000000 ea000000 03000000 09000000",
        ),
        (
            CpuPayload(0x1_0000_0002, 1, 4, -1),
            "0200000001000000 01000000 04000000 ffffffff" + "00" * 4,
        ),
        (
            MemPayload(0x380000, 0x1000, 1, 2, 7),
            "0000380000000000 0010000000000000 01000000 02000000 07000000" + "00" * 4,
        ),
        (
            DevicePayload(0x8086, 0x3B, 0x10, 1, b"vfio-pci", 2),
            "8680 3b 10 01000000" + b"vfio-pci".hex() + "00" * 56 + "02000000",
        ),
        (AckPayload(0x2001, -22, 5), "01200000 eaffffff 0500000000000000"),
        (ShutdownPayload(1, 0), "01000000 00000000"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else "",
)
def test_a_payload_is_these_bytes(payload, wire: str):
    data = payload.encode()
    assert data == bytes.fromhex(wire)
    sizes = {
        IrqPayload: 16,
        CpuPayload: 24,
        MemPayload: 32,
        DevicePayload: 76,
        AckPayload: 16,
        ShutdownPayload: 8,
    }
    assert len(data) == sizes[type(payload)]
    assert type(payload).decode(data + b"more").encode() == data
    assert type(payload).decode(data[:-1]) is None


def test_types_and_subtypes_have_the_numbers_of_the_series():
    assert [int(each) for each in MkType] == [0x1000, 0x2000, 0x3000, 0x4000, 0x5000]
    by_type: dict[int, list[int]] = {}
    for subtype in Subtype:
        by_type.setdefault(subtype & 0xF000, []).append(subtype & 0xFFF)
    assert by_type == {
        0x1000: [1, 2, 3, 4],
        0x2000: [1, 2, 3, 4, 5, 6, 7, 0x100],
        0x3000: [1, 2, 3, 4],
        0x5000: [1, 2],
    }


@pytest.mark.parametrize(
    ("data", "ipi_type", "text"),
    [
        (b"", None, "Multikernel message too small: 0 bytes"),
        (bytes(23), 0, "Multikernel message too small: 23 bytes"),
        (encode(message(b"abc"))[:-1], None, "Multikernel message payload length invalid: 3 > 2"),
        (
            struct.pack("<IIQI", 0x2000, 0, 0, 0xFFFFFFFF) + bytes(4),
            0x2000,
            "Multikernel message payload length invalid: 4294967295 > 0",
        ),
        (
            encode(message()),
            0x3000,
            "Multikernel message type mismatch: expected 0x3000, got 0x2000",
        ),
    ],
)
def test_what_is_no_message_is_refused_with_the_line_of_the_series(data, ipi_type, text):
    assert decode(data, ipi_type=ipi_type) == (-EINVAL, None, text)


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1), st.binary())
def test_every_message_is_decoded_to_itself(msg_type, subtype, msg_id, payload):
    sent = MkMessage(msg_type=msg_type, msg_subtype=subtype, msg_id=msg_id, payload=payload)
    assert decode(encode(sent), ipi_type=msg_type) == (0, sent, "")


@given(st.binary(max_size=64), st.integers(0, 2**32 - 1))
def test_arbitrary_bytes_are_a_message_or_an_error(data, ipi_type):
    result, decoded, text = decode(data, ipi_type=ipi_type)
    assert (result == 0) == (decoded is not None) == (text == "")
