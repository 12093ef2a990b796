"""FRED's dispatch of external interrupts (multikernel reference, 4.1; Linux entry_fred.c)."""

import pytest

from mkrpc.errors import AlreadyExistsError, InvalidArgumentError
from mkrpc.x86.fred import SYSVEC_TABLE, FredDispatch
from mkrpc.x86.idt import APIC_IDTS, Gate, Idt
from mkrpc.x86.irq_vectors import (
    FIRST_EXTERNAL_VECTOR,
    FIRST_SYSTEM_VECTOR,
    MULTIKERNEL_VECTOR,
    NMI_VECTOR,
    NR_VECTORS,
)


def common() -> str:
    return "common"


def spurious() -> str:
    return "spurious"


def extint() -> str:
    return "extint"


def entry() -> str:
    return "entry"


HANDLERS = {name: entry for _, name in APIC_IDTS} | {"asm_exc_nmi": entry}


@pytest.fixture
def fred() -> FredDispatch:
    return FredDispatch(
        HANDLERS, common_interrupt=common, spurious_interrupt=spurious, fred_extint=extint
    )


def test_sysvec_table_has_all_entries_of_the_idt_but_0xea() -> None:
    assert set(dict(APIC_IDTS)) - set(SYSVEC_TABLE) == {MULTIKERNEL_VECTOR}
    assert min(SYSVEC_TABLE) == FIRST_SYSTEM_VECTOR


def test_every_vector_goes_where_fred_extint_sends_it(fred: FredDispatch) -> None:
    for vector in range(NR_VECTORS):
        if vector == NMI_VECTOR:
            expected = ("fred_exc_nmi", entry)  # an event type of its own
        elif vector < FIRST_EXTERNAL_VECTOR:
            expected = ("fred_extint", extint)
        elif vector < FIRST_SYSTEM_VECTOR:
            expected = ("common_interrupt", common)
        elif vector in SYSVEC_TABLE:
            expected = (SYSVEC_TABLE[vector], entry)
        else:
            expected = ("spurious_interrupt", spurious)
        assert fred[vector] == Gate(vector, *expected), hex(vector)


def test_fred_and_idt_differ_in_0xea_and_below_the_external_vectors_only(
    fred: FredDispatch,
) -> None:
    idt = Idt(HANDLERS, common_interrupt=common, spurious_interrupt=spurious)
    differ = [vector for vector in range(NR_VECTORS) if fred[vector] != idt[vector]]
    assert differ == [*range(FIRST_EXTERNAL_VECTOR), MULTIKERNEL_VECTOR]


def test_an_unassigned_system_vector_can_be_taken_once(fred: FredDispatch) -> None:
    fred.install(0xF3, "sysvec_hyperv_callback", extint)
    assert fred[0xF3] == Gate(0xF3, "sysvec_hyperv_callback", extint)
    with pytest.raises(AlreadyExistsError, match="0xf3 has its entry, sysvec_hyperv_callback"):
        fred.install(0xF3, "another", common)
    with pytest.raises(AlreadyExistsError):
        fred.install(0xEC, "another", common)


@pytest.mark.parametrize("vector", [2, 0x1F, 0x20, 0x80, 0xEA])
def test_nothing_can_be_installed_below_first_system_vector(
    fred: FredDispatch, vector: int
) -> None:
    """fred_install_sysvec warns and returns: nobody who sends 0xEA to it is heard."""
    before = fred[vector]
    with pytest.raises(InvalidArgumentError, match="below FIRST_SYSTEM_VECTOR"):
        fred.install(vector, "sysvec_multikernel", entry)
    assert fred[vector] == before


def test_there_are_no_gates_to_change(fred: FredDispatch) -> None:
    before = fred[0xFD]
    with pytest.raises(InvalidArgumentError, match="no trap gates"):
        fred.install_trap_gate(0xFD, "trap", entry)
    with pytest.raises(InvalidArgumentError, match="no gate to remove"):
        fred.remove(0xFD)
    assert fred[0xFD] == before


@pytest.mark.parametrize("vector", [-1, 256])
def test_a_vector_beyond_the_table_is_a_bug(fred: FredDispatch, vector: int) -> None:
    with pytest.raises(AssertionError):
        fred.install(vector, "nobody", common)
