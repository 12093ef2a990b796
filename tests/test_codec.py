"""CPUs on the wire: one message each for addresses, accounts and views, for both planes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mkrpc.codec import (
    cpu_account_from_pb,
    cpu_account_to_pb,
    cpu_address_from_pb,
    cpu_address_to_pb,
    cpu_view_from_pb,
    cpu_view_to_pb,
    pending_view_from_pb,
    pending_view_to_pb,
)
from mkrpc.errors import ProtocolError
from mkrpc.link.frames import CpuAccount, CpuAddress, CpuView, PendingView, VectorCount
from mkrpc.v1 import types_pb2 as types
from mkrpc.x86.apic_base import ApicMode
from mkrpc.x86.pending import CoreState


def account(**changes) -> CpuAccount:
    values = {
        "cpu": 3,
        "irr": 0,
        "isr": 0,
        "tpr": 0x10,
        "ppr": 0x20,
        "interrupts_enabled": True,
        "activity": "idle",
        "multikernel": 9,
        "vectors": [VectorCount(0xEA, 1, 2, 3, 4, 5)],
        "stats": {0: 7},
    }
    return CpuAccount(**(values | changes))


@pytest.mark.parametrize("mode", list(ApicMode), ids=lambda mode: mode.name)
def test_an_address_has_the_mode_by_the_name_of_the_wire(mode):
    address = CpuAddress(
        cpu=1, apic_id=2, mode=mode, xapic_id=3, ldr=4, dfr=5, software_enabled=True
    )
    message = cpu_address_to_pb(address)
    assert types.ApicMode.Name(message.mode) == f"APIC_MODE_{mode.name}"
    assert cpu_address_from_pb(message) == address


@pytest.mark.parametrize(
    ("register", "on_the_wire"),
    [
        (0, b""),
        (1, b"\x01"),
        (1 << 0xEA, bytes(29) + b"\x04"),
        (1 << 255, bytes(31) + b"\x80"),
        ((1 << 256) - 1, b"\xff" * 32),
    ],
    ids=["empty", "vector 0", "vector 0xea", "vector 255", "full"],
)
@pytest.mark.parametrize("name", ["irr", "isr"])
def test_a_256_bit_register_is_little_endian_without_trailing_zeros(name, register, on_the_wire):
    message = cpu_account_to_pb(account(**{name: register}))
    assert getattr(message, name) == on_the_wire
    assert cpu_account_from_pb(message) == account(**{name: register})


def test_trailing_zeros_of_a_register_mean_nothing():
    message = cpu_account_to_pb(account())
    message.irr = b"\x02" + bytes(31)
    assert cpu_account_from_pb(message).irr == 1 << 1


def test_a_register_beyond_256_bits_is_refused():
    message = cpu_account_to_pb(account())
    message.isr = bytes(33)
    with pytest.raises(ProtocolError, match="33 bytes"):
        cpu_account_from_pb(message)


@pytest.mark.parametrize("mode", [0, 4, 99])
def test_a_mode_that_does_not_exist_is_refused(mode):
    with pytest.raises(ProtocolError, match=f"APIC mode {mode}"):
        cpu_address_from_pb(types.CpuAddress(cpu=1, mode=mode))
    with pytest.raises(ProtocolError, match=f"in mode {mode}"):
        cpu_view_from_pb(types.CpuView(apic_id=1, mode=mode))


def test_a_view_keeps_its_registers_by_name():
    registers = {"TPR": 0x10, "ICR": 0x3_0000_00EA}
    view = CpuView(account(), apic_id=7, mode=int(ApicMode.XAPIC), registers=registers)
    assert cpu_view_from_pb(cpu_view_to_pb(view)) == view


PENDING = st.builds(
    PendingView,
    st.builds(
        CoreState,
        cpu=st.integers(0, 511),
        irr=st.integers(0, 2**256 - 1),
        isr=st.integers(0, 2**256 - 1),
        tpr=st.integers(0, 255),
        ppr=st.integers(0, 255),
        interrupts_enabled=st.booleans(),
        activity=st.sampled_from(["running", "idle", "halted", "wait-for-sipi"]),
        mode=st.sampled_from(ApicMode).map(int),
        software_enabled=st.booleans(),
        interrupt_shadow=st.integers(0, 2),
        nmi_latched=st.integers(0, 2),
        panic=st.text(max_size=20),
        handlers=st.lists(st.integers(0, 255), max_size=4).map(tuple),
    ),
    st.builds(VectorCount, *[st.integers(0, 2**32 - 1)] * 6),
)


@given(PENDING)
def test_what_bears_on_a_vector_survives_the_wire(view):
    assert pending_view_from_pb(pending_view_to_pb(view)) == view


@pytest.mark.parametrize("field", ["tpr", "ppr"])
def test_a_state_that_no_cpu_has_is_refused(field):
    message = types.CoreState(cpu=1, mode=types.APIC_MODE_X2APIC, **{field: 256})
    with pytest.raises(ProtocolError, match="no CPU has"):
        pending_view_from_pb(types.PendingView(core=message))
    message = types.CoreState(cpu=1, mode=types.APIC_MODE_X2APIC, handlers=[0x41, 256])
    with pytest.raises(ProtocolError, match="no CPU has"):
        pending_view_from_pb(types.PendingView(core=message))
