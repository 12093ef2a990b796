"""What runs on the simulated machine: ICR words, programs, handlers and gates."""

from collections.abc import Callable

from mkrpc.instance.cpu import Cpu
from mkrpc.instance.execution import Body, Program
from mkrpc.instance.instructions import (
    Cli,
    Eoi,
    Hlt,
    Instruction,
    Nop,
    ReadRegister,
    SelfIpi,
    Sti,
    WriteIcr,
    WriteRegister,
    WriteTpr,
)
from mkrpc.instance.kernel import Kernel
from mkrpc.instance.memory import PageFault
from mkrpc.simulation.options import InstanceOptions, Options, Rng
from mkrpc.x86.apic_base import ApicMode, GeneralProtection
from mkrpc.x86.icr import (
    BROADCAST,
    XAPIC_BROADCAST,
    DeliveryMode,
    DestinationMode,
    Shorthand,
    TriggerMode,
    decode,
    icr_word,
)
from mkrpc.x86.registers import Register

__all__ = ["MAY_STAY_IN_SERVICE", "Words", "draw_program", "equip", "is_broadcast", "program_of"]

_DOORBELL = 0xEA
MAY_STAY_IN_SERVICE = ("owes_an_eoi", "nests")
"""Names of gates whose interrupt may stay: one never ends it; the other's EOI, after it has enabled
interrupts, ends the former's if that came in between."""
_OWED_VECTOR = 0x61
_NESTS = 0x51
"""The vector of a gate that enables interrupts before its EOI."""
_REBOOT = 0xF8
_VECTORS = (
    *((_DOORBELL,) * 8),
    *(0x31, 0x41, 0x42, _NESTS, _OWED_VECTOR, 0xFB, 0xFD, 0xFF, 0x12, 5, _REBOOT),
)
_MODES = (
    *((DeliveryMode.FIXED,) * 14),
    *((DeliveryMode.LOWEST_PRIORITY,) * 3),
    *((DeliveryMode.NMI,) * 2),
    *((DeliveryMode.INIT,) * 3),
    *((DeliveryMode.STARTUP,) * 4),
    DeliveryMode.SMI,
    DeliveryMode.RESERVED_3,
    DeliveryMode.EXTINT,
)
_SHORTHANDS = (
    *((Shorthand.NONE,) * 7),
    Shorthand.SELF,
    Shorthand.ALL_INCLUDING_SELF,
    Shorthand.ALL_EXCLUDING_SELF,
)
_SVR_ENABLED = 0x1FF
_STARTUP_TPR = 0x10
_OOPS_SHARE = 0.2
_STARTS = 3


class Words:
    """Draws ICR words; most of them reach somebody."""

    def __init__(self, rng: Rng, options: Options) -> None:
        self._rng = rng
        ids = [apic_id for each in options.instances for apic_id in each.apic_ids]
        self._ids = (*ids, *ids, *ids, max(ids) + 1, BROADCAST, XAPIC_BROADCAST)
        self._logical = (
            *(1 << n for n in range(4)),
            *(0xF, 0x1_0001, 0x3, BROADCAST, XAPIC_BROADCAST),
        )

    def draw(self) -> int:
        """Any word that an ICR takes without a fault."""
        return self._draw(self._rng.choice(_SHORTHANDS))

    def external(self) -> int:
        """A word of an external agent; at times one that such a one may not use."""
        rng = self._rng
        if rng.random() < 0.02:
            return self._draw(Shorthand.SELF)
        all_of_them = rng.random() < 0.2
        return self._draw(Shorthand.ALL_INCLUDING_SELF if all_of_them else Shorthand.NONE)

    def _draw(self, shorthand: Shorthand) -> int:
        rng = self._rng
        mode = rng.choice(_MODES)
        logical = shorthand is Shorthand.NONE and rng.random() < 0.2
        vector = rng.choice(_VECTORS)
        if vector == _REBOOT and rng.random() < 0.8:
            vector = _DOORBELL  # else hardly anybody would be left
        if shorthand is not Shorthand.NONE and mode is DeliveryMode.INIT and rng.random() < 0.8:
            mode = DeliveryMode.STARTUP
        return icr_word(
            vector=vector,
            destination=rng.choice(self._logical if logical else self._ids),
            delivery_mode=mode,
            destination_mode=DestinationMode(logical),
            shorthand=shorthand,
            level=rng.random() < 0.5,
            trigger_mode=TriggerMode(rng.random() < 0.1),
        )


def is_broadcast(word: int) -> bool:
    """Whether a word may reach many CPUs."""
    icr = decode(word)
    return (
        icr.shorthand in (Shorthand.ALL_INCLUDING_SELF, Shorthand.ALL_EXCLUDING_SELF)
        or icr.destination in (BROADCAST, XAPIC_BROADCAST)
        or icr.destination_mode is DestinationMode.LOGICAL
    )


def draw_program(rng: Rng, words: Words, where: InstanceOptions) -> tuple[Instruction, ...]:
    """Up to two dozen instructions, some of which fault."""
    return tuple(_instruction(rng, words, where) for _ in range(rng.randrange(1, 25)))


def _instruction(rng: Rng, words: Words, where: InstanceOptions) -> Instruction:
    match rng.randrange(0, 16):
        case 0 | 1:
            return Cli()
        case 2 | 3:
            return Sti()
        case 4:
            return Hlt()
        case 5:
            return WriteTpr(rng.choice((0, 0, 0x10, 0x40, 0xF0)))
        case 6:
            return Eoi()
        case 7:
            return SelfIpi(rng.choice(_VECTORS[:-1]))
        case 8:
            return _register(rng, where)
        case 9 | 10:
            return Nop()
        case _:
            return WriteIcr(words.draw())


def _register(rng: Rng, where: InstanceOptions) -> Instruction:
    """Routing registers, the software enable bit, errors."""
    match rng.randrange(0, 5):
        case 0:
            return WriteRegister(Register.SVR, rng.choice((0xFF, _SVR_ENABLED, _SVR_ENABLED)))
        case 1:
            return WriteRegister(Register.LDR, 1 << rng.randrange(24, 32))
        case 2:
            return WriteRegister(Register.DFR, rng.choice((0xFFFF_FFFF, 0x0FFF_FFFF)))
        case 3 if where.mode is ApicMode.XAPIC and where.apic_policy.xapic_id_writable:
            return WriteRegister(Register.ID, rng.choice(where.apic_ids) << 24)
        case _:
            return ReadRegister(Register.ESR)


def program_of(instructions: tuple[Instruction, ...]) -> Program:
    """A program that executes them; it goes on after a fault.

    A boot processor that takes an INIT begins it again, a few times: it may have sent that itself.
    """
    starts = iter(range(_STARTS))

    def program(cpu: Cpu) -> Body:
        if next(starts, None) is None:
            return
        for instruction in instructions:
            try:
                yield instruction
            except (GeneralProtection, PageFault) as fault:
                cpu.printk(f"{instruction}: {fault}")

    return program


def equip(
    kernel: Kernel,
    options: InstanceOptions,
    *,
    rng: Rng,
    words: Words,
    may_ring: Callable[[], bool],
) -> None:
    """Give a kernel its handlers and gates, and what its CPUs run after SIPI.

    ``may_ring`` takes one from the ICR writes that handlers of the whole machine may still make.
    """

    def on_startup(cpu: Cpu, vector: int) -> Program | None:
        return _startup if vector != 5 else None

    def ring_back(cpu: Cpu) -> None:
        if may_ring():
            cpu.write_icr(words.draw())

    def ring_back_slowly(cpu: Cpu) -> Body:
        if rng.random() < 0.5:
            yield Sti()
        yield Nop()
        if may_ring():
            yield WriteIcr(words.draw())
        yield Cli()

    def fail(cpu: Cpu) -> None:
        if rng.random() < _OOPS_SHARE:
            raise ValueError("a handler that fails")

    kernel.on_startup = on_startup
    handlers = {"function": ring_back, "generator": ring_back_slowly, "oops": fail}
    if options.handler in handlers:
        kernel.register_handler(handlers[options.handler])
    if options.gates:
        owes, nests = MAY_STAY_IN_SERVICE
        kernel.idt.install(_OWED_VECTOR, owes, lambda cpu: None)
        kernel.idt.install(_NESTS, nests, _nests)


def _startup(cpu: Cpu) -> Body:
    """What a booted CPU does first: its APIC as Linux leaves it, interrupts on."""
    yield WriteTpr(_STARTUP_TPR)
    yield WriteRegister(Register.SVR, _SVR_ENABLED)
    yield Sti()


def _nests(cpu: Cpu) -> Body:
    yield Sti()
    yield Nop()
    yield Cli()
    yield Eoi()
