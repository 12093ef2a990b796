"""NMI, SMI, INIT and SIPI at the local APIC (SDM vol. 3, 6.7.1, 8.4, 10.6.1; R9, R33 to R36, R58).

The test plays the CPU: it takes what is latched and sets ``wait_for_sipi`` and ``nmi_in_service``.
"""

import pytest

from mkrpc.outcome import Outcome
from mkrpc.x86.apic_base import APIC_BASE_BSP, APIC_BASE_EXTD
from mkrpc.x86.icr import (
    DeliveryMode,
    Icr,
    Shorthand,
    TriggerMode,
    decode,
    init_assert,
    nmi,
    shorthand_word,
    startup,
)
from mkrpc.x86.lapic import ApicMode, ApicPolicy, LocalApic

NMI = decode(nmi(0))
SMI = Icr(vector=0, delivery_mode=DeliveryMode.SMI)
INIT = decode(init_assert(0))
SIPI = decode(startup(0, 8))


def enabled(
    *, bsp: bool = False, mode: ApicMode = ApicMode.X2APIC, policy: ApicPolicy | None = None
) -> LocalApic:
    apic = LocalApic(0x13, bsp=bsp, mode=mode, policy=policy)
    apic.write_svr(0x1FF)
    return apic


def waiting() -> LocalApic:
    """An application processor that took an INIT."""
    apic = enabled()
    apic.accept(INIT)
    apic.init()
    apic.wait_for_sipi = True
    return apic


# NMI and SMI.


@pytest.mark.rule("R35", "R58")
@pytest.mark.parametrize(
    ("in_service", "outcomes", "latched"),
    [
        (False, [Outcome.DELIVERED, Outcome.DELIVERED, Outcome.COALESCED], 2),
        (True, [Outcome.DELIVERED, Outcome.COALESCED, Outcome.COALESCED], 1),
    ],
)
def test_nmis_latch_to_a_limit_and_merge_beyond_it(
    in_service: bool, outcomes: list[Outcome], latched: int
) -> None:
    apic = enabled()
    apic.nmi_in_service = in_service
    assert [apic.accept(NMI) for _ in outcomes] == outcomes
    assert apic.nmi_latched == latched
    assert apic.core_event
    apic.assert_invariants()


@pytest.mark.rule("R58")
def test_pending_nmi() -> None:
    """Ten NMIs inside the handler make one more (reference 2.1, row 12)."""
    apic = enabled()
    runs = 0
    apic.accept(NMI)
    while apic.nmi_latched:
        apic.nmi_latched -= 1
        apic.nmi_in_service = True
        if not runs:
            outcomes = [apic.accept(NMI) for _ in range(10)]
            assert outcomes == [Outcome.DELIVERED] + [Outcome.COALESCED] * 9
        runs += 1
        apic.nmi_in_service = False
    assert runs == 2


@pytest.mark.rule("R35")
@pytest.mark.parametrize("vector", [0, 2, 5, 0xEA])
def test_an_nmi_ignores_vector_priority_and_irr(vector: int) -> None:
    apic = enabled()
    apic.tpr = 0xFF
    assert apic.accept(Icr(vector=vector, delivery_mode=DeliveryMode.NMI)) is Outcome.DELIVERED
    assert (apic.irr, apic.isr, apic.esr_pending, apic.nmi_latched) == (0, 0, 0, 1)


@pytest.mark.rule("R35")
@pytest.mark.parametrize(
    ("policy", "outcome"),
    [("deliver", Outcome.DELIVERED), ("drop", Outcome.REJECTED_SOFTWARE_DISABLED)],
)
def test_an_nmi_to_a_software_disabled_apic(policy: str, outcome: Outcome) -> None:
    choice = {
        "deliver": ApicPolicy(nmi_while_software_disabled="deliver"),
        "drop": ApicPolicy(nmi_while_software_disabled="drop"),
    }[policy]
    apic = LocalApic(0, policy=choice)
    assert apic.accept(NMI) is outcome
    assert apic.nmi_latched == (outcome is Outcome.DELIVERED)
    apic.write_svr(0x1FF)
    assert apic.accept(NMI) is Outcome.DELIVERED


@pytest.mark.rule("R22")
def test_self_shorthand_nmi_is_delivered() -> None:
    apic = enabled()
    word = shorthand_word(Shorthand.SELF, 0, delivery_mode=DeliveryMode.NMI)
    assert apic.write_icr(word).settled is Outcome.DELIVERED
    assert apic.nmi_latched == 1


@pytest.mark.rule("R33")
def test_smis_latch_once() -> None:
    apic = enabled()
    assert [apic.accept(SMI), apic.accept(SMI)] == [Outcome.DELIVERED, Outcome.COALESCED]
    assert apic.smi_latched == 1
    assert apic.core_event


# INIT and SIPI.


@pytest.mark.rule("R21", "R36")
@pytest.mark.parametrize(
    ("level", "trigger", "outcome"),
    [
        (True, TriggerMode.EDGE, Outcome.DELIVERED),
        (True, TriggerMode.LEVEL, Outcome.DELIVERED),
        (False, TriggerMode.EDGE, Outcome.DELIVERED),  # kvm-unit-tests init.c, case 4
        (False, TriggerMode.LEVEL, Outcome.REJECTED_INIT_DEASSERT),
    ],
)
def test_which_init_is_one(level: bool, trigger: TriggerMode, outcome: Outcome) -> None:
    apic = LocalApic(0)  # INIT does not ask for software enable
    icr = Icr(vector=0, delivery_mode=DeliveryMode.INIT, level=level, trigger_mode=trigger)
    assert apic.accept(icr) is outcome
    assert apic.init_latched is (outcome is Outcome.DELIVERED)


@pytest.mark.rule("R9")
@pytest.mark.parametrize("mode", [ApicMode.XAPIC, ApicMode.X2APIC])
def test_init_keeps_id_mode_and_base_and_clears_the_rest(mode: ApicMode) -> None:
    """In x2APIC mode LDR stays valid (reference 2.5, row 52; ACRN #4267)."""
    apic = enabled(mode=mode)
    if mode is ApicMode.XAPIC:
        apic.write_xapic_id(0x77)
        apic.write_ldr(0x02000000)
        apic.write_dfr(0)
    base = apic.apic_base
    apic.accept_fixed(0x31)
    apic.acknowledge()
    apic.accept_fixed(0xEA)
    apic.accept_fixed(0x05)
    apic.write_esr()
    apic.tpr = 0x20
    apic.write_lvt("error", 0xFE)
    apic.write_icr(nmi(1))
    apic.accept(NMI)
    apic.accept(INIT)
    apic.init()
    assert (apic.mode, apic.apic_base) == (mode, base)
    assert apic.xapic_id == (0x77 if mode is ApicMode.XAPIC else 0x13)
    assert apic.ldr == (0 if mode is ApicMode.XAPIC else 0x10008)
    assert (apic.irr, apic.isr, apic.tpr, apic.ppr, apic.icr, apic.esr) == (0,) * 6
    assert (apic.dfr, apic.svr, apic.lvt["error"]) == (0xFFFFFFFF, 0xFF, 0x10000)
    assert (apic.nmi_latched, apic.init_latched, apic.core_event) == (0, False, False)
    apic.assert_invariants()


@pytest.mark.rule("R9")
def test_init_leaves_a_disabled_apic_disabled() -> None:
    apic = LocalApic(0, mode=ApicMode.DISABLED)
    apic.init()
    assert apic.mode is ApicMode.DISABLED


@pytest.mark.rule("R8")
def test_reset_goes_back_to_xapic_and_the_initial_id() -> None:
    apic = enabled()
    apic.accept(INIT)
    apic.accept(SIPI)
    apic.reset()
    assert (apic.mode, apic.xapic_id, apic.ldr) == (ApicMode.XAPIC, 0x13, 0)
    assert not apic.apic_base & APIC_BASE_EXTD
    assert not apic.core_event
    apic.assert_invariants()


@pytest.mark.rule("R36")
@pytest.mark.parametrize(
    ("why", "script", "outcomes", "sipi_vector"),
    [
        ("to a CPU that runs", [SIPI], [Outcome.REJECTED_NOT_WAITING_FOR_SIPI], None),
        ("behind an INIT", [INIT, SIPI], [Outcome.DELIVERED, Outcome.DELIVERED], 8),
        (
            "the second of INIT-SIPI-SIPI",
            [INIT, SIPI, decode(startup(0, 9))],
            [Outcome.DELIVERED, Outcome.DELIVERED, Outcome.COALESCED],
            8,
        ),
        ("two INITs", [INIT, INIT], [Outcome.DELIVERED, Outcome.COALESCED], None),
        (
            "a later INIT cancels it",
            [INIT, SIPI, INIT],
            [Outcome.DELIVERED, Outcome.DELIVERED, Outcome.COALESCED],
            None,
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_sipi(
    why: str, script: list[Icr], outcomes: list[Outcome], sipi_vector: int | None
) -> None:
    apic = enabled()
    assert [apic.accept(icr) for icr in script] == outcomes, why
    assert apic.sipi_vector == sipi_vector
    apic.assert_invariants()


@pytest.mark.rule("R10", "R36")
def test_the_bsp_never_waits_for_a_sipi_not_even_behind_an_init() -> None:
    """It starts over at its reset vector, so that a SIPI kept for it would be kept for ever."""
    apic = enabled(bsp=True)
    assert apic.accept(INIT) is Outcome.DELIVERED
    assert apic.accept(SIPI) is Outcome.REJECTED_NOT_WAITING_FOR_SIPI
    apic.init()
    assert apic.sipi_vector is None
    apic.assert_invariants()


@pytest.mark.rule("R10", "R36")
def test_a_cpu_made_bsp_behind_its_init_waits_for_no_sipi() -> None:
    apic = enabled()
    apic.accept(INIT)
    apic.accept(SIPI)
    apic.set_apic_base(apic.apic_base | APIC_BASE_BSP)
    assert apic.sipi_vector is None
    apic.assert_invariants()


@pytest.mark.rule("R36")
def test_a_sipi_that_came_behind_an_init_survives_it() -> None:
    apic = enabled()
    apic.accept(INIT)
    apic.accept(SIPI)
    apic.init()
    apic.wait_for_sipi = True
    assert (apic.init_latched, apic.sipi_vector) == (False, 8)
    assert apic.core_event


@pytest.mark.rule("R36", "R37")
@pytest.mark.parametrize(
    ("icr", "outcome"),
    [
        (NMI, Outcome.REJECTED_BLOCKED),
        (SMI, Outcome.REJECTED_BLOCKED),
        (SIPI, Outcome.DELIVERED),
        (INIT, Outcome.DELIVERED),
        (Icr(vector=0xEA), Outcome.REJECTED_SOFTWARE_DISABLED),
    ],
    ids=["nmi", "smi", "sipi", "init", "fixed"],
)
def test_what_a_cpu_takes_that_waits_for_sipi(icr: Icr, outcome: Outcome) -> None:
    apic = waiting()
    assert apic.accept(icr) is outcome
    apic.assert_invariants()


@pytest.mark.rule("R36")
def test_an_init_cancels_a_sipi_that_the_waiting_cpu_has_not_taken() -> None:
    apic = waiting()
    apic.accept(SIPI)
    apic.accept(INIT)
    assert apic.sipi_vector is None
    assert apic.init_latched


@pytest.mark.rule("R21", "R36")
def test_the_boot_string_of_xv6_starts_the_cpu_once() -> None:
    """INIT|LEVEL|ASSERT, INIT|LEVEL, SIPI, SIPI (reference 2.5, row 53)."""
    apic = enabled()
    starts = []
    for low in (0xC500, 0x8500, 0x607, 0x607):
        apic.accept(decode(low))
        if apic.init_latched:
            apic.init()
            apic.wait_for_sipi = True
        if apic.wait_for_sipi and apic.sipi_vector is not None:
            starts.append(apic.sipi_vector << 12)
            apic.sipi_vector, apic.wait_for_sipi = None, False
    assert starts == [0x7000]
