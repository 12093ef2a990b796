"""Where real implementations and the model are known to part, and why.

Each row is one deviation from the model: what an engine does otherwise, which side the model takes,
and a predicate that recognises it from the script and the state of the machine, whoever the engine
is and whatever the scenario is called. Order matters: the first predicate that holds explains.

Source: the rules of docs/rules.md, and what the recordings show.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from mkrpc.conformance import predicates_access as access
from mkrpc.conformance import predicates_arrival as arrival
from mkrpc.conformance.scene import Clue, Scene

__all__ = ["BY_NAME", "DEVIATIONS", "UNEXPLAINED", "Deviation"]

UNEXPLAINED = "unexplained"
"""In place of a name where no predicate holds."""

_EVENTS = frozenset({"delivered", "ppr_at_entry", "not_in_isr"})
_ESR = frozenset({"esr", "result"})
_RESULT = frozenset({"result"})


@dataclass(frozen=True, slots=True)
class Deviation:
    """One way to differ from the model.

    ``rules``: numbers of docs/rules.md. ``engine``: what it does; ``model``: which side the model
    takes and why. ``passing``: fields in which it leaves nothing behind: a difference in them alone
    does not end the comparison of a scenario, one in any other field does.
    """

    name: str
    rules: tuple[str, ...]
    engine: str
    model: str
    holds: Callable[[Scene, Clue], bool]
    passing: frozenset[str] = frozenset()


DEVIATIONS = (
    Deviation(
        "x2apic-reserved-bits",
        ("R15", "R18"),
        "accepts a write with reserved bits in x2APIC mode",
        "takes #GP and changes nothing: SDM 10.12.1.3",
        access.reserved_bits,
    ),
    Deviation(
        "icr-bit-12-gp",
        ("R18",),
        "takes #GP for bit 12 of an x2APIC ICR, as AMD and Xen",
        "ignores the bit, as Intel and KVM; switch icr_bit12",
        access.icr_bit_12,
    ),
    Deviation(
        "x2apic-register-map",
        ("R3", "R14"),
        "faults, or does not fault, at a register that the mode lacks or protects",
        "follows SDM table 10-6",
        access.register_map,
    ),
    Deviation(
        "init-leaves-x2apic",
        ("R9",),
        "falls out of x2APIC mode at INIT, so that the MSRs read garbage",
        "keeps the mode: SDM 10.12.5; KVM and QEMU 10 as well",
        arrival.init_leaves_x2apic,
    ),
    Deviation(
        "init-of-boot-processor",
        ("R10",),
        "runs its firmware again when the boot processor takes an INIT",
        "begins the program again or holds the CPU: there is no firmware",
        arrival.init_of_the_boot_processor,
    ),
    Deviation(
        "illegal-vector-delivered",
        ("R52", "R44"),
        "accepts a fixed interrupt with a vector below 16 and delivers it",
        "refuses it at the sender: SDM 10.5.2 and 10.5.3",
        arrival.illegal_vector_delivered,
    ),
    Deviation(
        "esr-not-latched",
        ("R50",),
        "shows an error in ESR before ESR is written",
        "shows it with the next write of ESR: SDM 10.5.3",
        access.esr_unlatched,
        _ESR,
    ),
    Deviation(
        "illegal-vector-error",
        ("R52",),
        "reports an illegal vector as error of the receiver (ESR bit 6), or not at all",
        "reports it at the sender (bit 5), where it stops: SDM 10.5.3, Xen",
        access.illegal_vector_error,
        _ESR,
    ),
    Deviation(
        "absent-destination-error",
        ("R41", "R51"),
        "sets ESR bit 2 when nobody has the destination",
        "sets nothing: that bit belongs to the P6 family, SDM 10.5.3",
        access.absent_destination,
        _ESR,
    ),
    Deviation(
        "redirectable-ipi-error",
        ("R32",),
        "sets ESR bit 4 for a lowest-priority IPI, as current Intel processors",
        "sends it, as the recorded engines do; switch lowest_priority",
        access.redirectable_ipi,
        _ESR,
    ),
    Deviation(
        "illegal-register-error",
        ("R13",),
        "sees another set of illegal xAPIC registers, or keeps no ESR",
        "sets ESR bit 7 for reserved offsets: SDM 10.5.3",
        access.illegal_register,
        _ESR,
    ),
    # Whom a destination addresses.
    Deviation(
        "x2apic-logical-id",
        ("R24",),
        "computes another LDR from the id",
        "cluster in the high half, one bit in the low: SDM 10.12.10.2",
        access.logical_id,
    ),
    Deviation(
        "x2apic-broadcast",
        ("R25", "R28"),
        "takes 0xff for a broadcast in x2APIC mode, or 0xffffffff for none",
        "0xff is an ordinary id there: SDM 10.12.9; KVM and QEMU 10 as well",
        arrival.x2apic_broadcast,
    ),
    Deviation(
        "cluster-15",
        ("R27",),
        "reads cluster 15 otherwise: as no broadcast, or as every cluster",
        "0xff is everybody, other 0xFx a cluster like any: SDM 10.6.2.2, KVM, Bochs",
        arrival.cluster_15,
    ),
    Deviation(
        "logical-broadcast-ldr-0",
        ("R27",),
        "applies the plain AND, so that 0xff misses an APIC whose LDR is 0",
        "0xff is everybody: KVM, Bochs, AMD's manual; SDM 10.6.2.2 allows both",
        arrival.logical_broadcast,
    ),
    Deviation(
        "undefined-destination-model",
        ("R27",),
        "matches a logical destination although DFR is neither flat nor cluster",
        "matches nothing: SDM 10.6.2.2 defines two models",
        arrival.undefined_model,
    ),
    Deviation(
        "xapic-id-rewritten",
        ("R7",),
        "keeps the id register of an xAPIC as it was, or changes other bits of it",
        "lets software rewrite it; switch xapic_id_writable",
        access.xapic_id,
    ),
    Deviation(
        "rewritten-id-addressed",
        ("R23", "R26"),
        "addresses other CPUs once an xAPIC id has been rewritten",
        "all that share an id accept, shorthands go by identity: KVM, Xen",
        arrival.rewritten_id,
    ),
    # What becomes of a command.
    Deviation(
        "lowest-priority-winner",
        ("R32",),
        "lets another candidate win a lowest-priority arbitration",
        "takes the lowest PPR, ties in turn, as Xen: the choice is model specific",
        arrival.arbitration,
    ),
    Deviation(
        "lowest-priority-to-sender",
        ("R23", "R32"),
        "lets the sender win a lowest-priority IPI to all excluding self",
        "leaves the sender out: SDM 10.6.1",
        arrival.sender_competes,
    ),
    Deviation(
        "invalid-shorthand",
        ("R22",),
        "drops self or all-including-self with another mode than fixed, or makes it fixed",
        "delivers, as KVM and QEMU; switch invalid_combination",
        arrival.invalid_shorthand,
    ),
    Deviation(
        "lowest-priority-dropped",
        ("R32",),
        "delivers a lowest-priority IPI to nobody",
        "delivers it to one candidate; switch lowest_priority",
        arrival.lowest_dropped,
    ),
    Deviation(
        "level-deassert-dropped",
        ("R21",),
        "drops a fixed IPI with trigger = level and level = 0, as KVM",
        "delivers it as edge: SDM 10.6.1",
        arrival.level_deassert,
    ),
    Deviation(
        "init-level",
        ("R21",),
        "reads the level and trigger bits of an INIT otherwise",
        "trigger = level with level = 0 does nothing, all else is an INIT: SDM 10.6.1, KVM",
        arrival.init_level,
    ),
    Deviation(
        "reserved-mode-delivered",
        ("R34",),
        "does something with a reserved delivery mode",
        "delivers nothing: SDM 10.6.1",
        arrival.reserved_mode,
    ),
    Deviation(
        "nmi-while-software-disabled",
        ("R35",),
        "keeps an NMI from a software-disabled APIC",
        "delivers it: SDM 10.4.7.2; switch nmi_while_software_disabled",
        arrival.nmi_while_disabled,
    ),
    Deviation(
        "smi-and-hlt",
        ("R33", "R59"),
        "goes back to HLT after an SMI, or never leaves it",
        "leaves HLT: there is no System Management Mode",
        arrival.smi,
    ),
    Deviation(
        "pending-while-software-disabled",
        ("R38",),
        "delivers what was pending when the APIC was software-disabled",
        "holds it, as Xen and QEMU; switch pending_while_software_disabled",
        arrival.pending_while_disabled,
    ),
    Deviation(
        "software-disabled-accepts",
        ("R37",),
        "latches or delivers fixed interrupts to a software-disabled APIC",
        "discards them: SDM 10.4.7.2; KVM as well",
        arrival.software_disabled,
    ),
    Deviation(
        "nmi-wakes-wait-for-sipi",
        ("R36",),
        "lets an NMI start a CPU that waits for SIPI",
        "blocks it: SDM 25.2",
        arrival.nmi_in_wait_for_sipi,
    ),
    # Priority and service.
    Deviation(
        "spurious-vector-in-service",
        ("R46", "R47"),
        "never ends a fixed interrupt whose vector equals the spurious vector",
        "EOI ends the highest vector in service, whichever: SDM 10.8.5; QEMU as well",
        arrival.spurious_in_service,
    ),
    Deviation(
        "extra-spurious-interrupt",
        ("R44", "R47"),
        "dispenses the spurious vector where the pending vector's class is blocked",
        "does not: nothing is signalled that PPR holds back, SDM 10.8.3",
        arrival.extra_spurious,
        _EVENTS,
    ),
    Deviation(
        "same-class-nesting",
        ("R44",),
        "nests a vector in a handler of the same class",
        "lets it wait for EOI: SDM 10.8.3.1",
        arrival.same_class,
    ),
    Deviation(
        "local-sources",
        (),
        "has local interrupt sources, such as a timer that fires",
        "has none but LVT ERROR: docs/faithfulness.md, departures",
        access.local_source,
        _RESULT,
    ),
    Deviation(
        "lvt-masks-while-disabled",
        ("R39",),
        "leaves LVT entries unmasked when the APIC is software-disabled",
        "masks them: SDM 10.4.7.2; Bochs as well",
        access.lvt_masks,
        _RESULT,
    ),
    Deviation(
        "self-ipi-in-icr",
        ("R54",),
        "shows a SELF_IPI in the ICR, as Xen",
        "does not, as KVM, QEMU and Bochs; switch self_ipi_stored_in_icr",
        access.self_ipi_in_icr,
        frozenset({"icr_lo", "icr_hi"}),
    ),
    Deviation(
        "icr-high-half-reads-0",
        ("R19",),
        "reads the high half of an x2APIC ICR as 0",
        "reads it as written: SDM 10.12.9",
        access.icr_high_half,
        frozenset({"icr_hi"}),
    ),
    Deviation(
        "icr-bit-12-kept",
        ("R18", "R19"),
        "reads bit 12 of the ICR back as it was written",
        "reads delivery status, idle: SDM 10.6.1",
        access.icr_bit_12_kept,
        frozenset({"icr_lo", "result"}),
    ),
    Deviation(
        "version-register",
        ("R8",),
        "has another version register",
        "version 0x14, max LVT entry 6: both are a processor's own",
        access.version,
        _RESULT,
    ),
    Deviation(
        "ppr-sub-class",
        ("R43",),
        "fills the low half of PPR otherwise where the classes are equal",
        "shows that of TPR, as KVM, Xen, QEMU and Bochs: model specific",
        access.ppr_subclass,
        frozenset({"ppr"}),
    ),
)

BY_NAME: Mapping[str, Deviation] = MappingProxyType({each.name: each for each in DEVIATIONS})
