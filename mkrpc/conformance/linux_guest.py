"""The patched kernel of the Linux recordings, emulated: the same kernel that an instance runs.

A hook in the recorded kernel sent the IPIs; here the verbs of its script become what the APIC
driver of that boot wrote (:mod:`mkrpc.conformance.linux_driver`).
"""

from mkrpc.conformance.judge import LinuxObservation
from mkrpc.conformance.linux_driver import LinuxDriver
from mkrpc.conformance.recording import Line, LinuxApic, LinuxTest, Verb
from mkrpc.instance.config import LINUX_TPR, KernelConfig
from mkrpc.instance.cpu import Cpu
from mkrpc.instance.instructions import (
    Cli,
    Nop,
    SelfIpi,
    Sti,
    WriteIcr,
)
from mkrpc.simulation.machine import Machine
from mkrpc.x86.irq_vectors import MULTIKERNEL_VECTOR
from mkrpc.x86.lapic import ApicMode

__all__ = ["LinuxGuest"]

OFFLINE_TESTS = "cpu3-offline-"
"""Tests so named ran with CPU 3 offline, says the README of the recordings."""
OFFLINE_CPU = 3

TEST_INTERVAL_US = 460_000
"""Tests lie about this far apart in the recorded boots; message rate limits depend on it."""

START_PAGE = 0x08
"""The page that a secondary CPU starts in; nothing is there, its program is a callable."""

_INSTANCE = 0
_MESSAGE = "Multikernel interrupt"


class LinuxGuest:
    """One boot: tests are played in the order of the file, and state carries over."""

    def __init__(self, *, cpus: int, driver: LinuxApic) -> None:
        self._driver = LinuxDriver(driver, range(cpus))
        xapic = driver is LinuxApic.PHYSICAL_FLAT
        config = KernelConfig(
            instance_id=_INSTANCE,
            name="linux",
            apic_ids=tuple(range(cpus)),
            mode=ApicMode.XAPIC if xapic else ApicMode.X2APIC,
            xapic_ldr="zero",
            initial_tpr=LINUX_TPR,
        )
        self._machine = Machine([config])
        self._kernel = self._machine.kernels[_INSTANCE]
        self._machine.settle()

    def play(self, test: LinuxTest) -> LinuxObservation:
        """Run one test's script on its sender; what changed, once the machine is at rest."""
        self._bring(OFFLINE_CPU, online=not test.name.startswith(OFFLINE_TESTS))
        before = self._cal()
        logged = self._kernel.log.written
        peeks: list[str] = []
        sender = self._kernel.cpus[test.sender]
        for line in test.script:
            self._perform(sender, line, peeks)
            self._machine.settle()
        texts = [record.text for record in self._kernel.log.since(logged + 1)]
        self._machine.now_us += TEST_INTERVAL_US
        return LinuxObservation(
            cal=tuple(now - then for now, then in zip(self._cal(), before, strict=True)),
            printk=texts.count(_MESSAGE),
            peek=tuple(peeks),
            other_dmesg=tuple(text for text in texts if text != _MESSAGE),
        )

    def _cal(self) -> list[int]:
        return [cpu.irq_stat.irq_call_count for cpu in self._kernel.cpus]

    def _perform(self, sender: Cpu, line: Line, peeks: list[str]) -> None:
        cpus = self._kernel.cpus
        match line.verb:
            case Verb.PEEK:
                peeks.append(f"peek {_peek(cpus[line.cpu], line.vector)}")
            case Verb.PEEK_SELF:
                peeks.append(f"peekself {_peek(sender, line.vector)}")
            case Verb.DELAY:
                self._machine.now_us += line.delay_ms * 1000
            case Verb.CLI:
                sender.execute(Cli())
            case Verb.STI:
                _interrupts_on(sender)
            case Verb.HOLD:
                cpus[line.cpu].execute(Cli())
            case Verb.RELEASE:
                _interrupts_on(cpus[line.cpu])
            case Verb.SELF:
                for _ in range(line.repeat):
                    sender.execute(SelfIpi(MULTIKERNEL_VECTOR))
            case _:
                for word in self._driver.words(sender.number, line) * line.repeat:
                    sender.execute(WriteIcr(word))
                    self._machine.settle()

    def _bring(self, number: int, *, online: bool) -> None:
        hotplug = self._kernel.hotplug
        if number >= len(self._kernel.cpus) or online is (number not in hotplug.offline):
            return
        if online:
            hotplug.bring_online(number)
        else:
            hotplug.take_offline(number)
        self._machine.settle()


def _interrupts_on(cpu: Cpu) -> None:
    """STI, and the instruction that its shadow covers (R57)."""
    cpu.execute(Sti())
    cpu.execute(Nop())


def _peek(cpu: Cpu, vector: int) -> str:
    """As the hook prints it: IRR and ISR bit of ``vector``, and PPR."""
    apic = cpu.apic
    return (
        f"cpu={cpu.number} vec={vector:x} irr={apic.irr >> vector & 1} "
        f"isr={apic.isr >> vector & 1} ppr={apic.ppr:x}"
    )
