"""What the scenarios share in which one kernel stops its CPUs and another one's are hit."""

from typing import ClassVar, Literal

from mkrpc.instance.cpu import Cpu
from mkrpc.instance.execution import Body
from mkrpc.instance.instructions import Nop
from mkrpc.instance.kernel import KernelConfig
from mkrpc.instance.stop_cpus import StopCpus
from mkrpc.scenarios.scenario import Scenario, Switch
from mkrpc.x86.icr import fixed
from mkrpc.x86.irq_vectors import MULTIKERNEL_VECTOR

__all__ = ["ForeignStop"]

_KERNELS = 3
_MOST_CPUS = 3
_WORK = 30


class ForeignStop(Scenario):
    """Kernels of one to three CPUs; one of them, the seed draws which, stops its others."""

    by: ClassVar[Literal["reboot", "nmi"]]
    switches: ClassVar[tuple[Switch, ...]] = (
        Switch("policy", "of the interconnect", ("bare-metal", "filtered")),
        Switch("filter", "a kernel ignores a stop that did not begin in it", ("off", "on")),
        Switch("send", "one IPI to all but self, or one to each CPU of its own", ("all", "each")),
    )
    defect: ClassVar[dict[str, str]] = {"policy": "bare-metal", "filter": "off", "send": "all"}
    remedies: ClassVar[tuple[dict[str, str], ...]] = (
        {"filter": "on"},
        {"policy": "filtered"},
        {"send": "each"},
    )

    def play(self) -> None:
        """Everybody has some work; one kernel stops its other CPUs in the midst of it."""
        stage = self.stage
        configs, first = [], 0
        for number in range(_KERNELS):
            cpus = 1 + stage.draw(_MOST_CPUS)
            ids = tuple(range(first, first + cpus))
            configs.append(KernelConfig(instance_id=number, name=f"mk{number}", apic_ids=ids))
            first += cpus
        machine = stage.set_up(configs, policy=stage.choose("policy"))
        filters = stage.choose("filter") == "on"
        self.stops = [StopCpus(each, filters=filters) for each in machine.kernels.values()]
        self.stopper = machine.kernels[stage.draw(_KERNELS)]
        self.stopping = self.stopper.cpus[stage.draw(len(self.stopper.cpus))]
        for kernel in machine.kernels.values():
            for cpu in kernel.cpus:
                kernel.start_program(cpu.number, self._work)
        stage.go_on()

    def check(self) -> list[str]:
        """CPUs of other kernels are online and take a doorbell; its own are stopped."""
        machine = self.stage.machine
        found = []
        for kernel in machine.kernels.values():
            name = kernel.config.name
            own = kernel is self.stopper
            for cpu in kernel.cpus:
                if cpu is self.stopping:
                    continue
                before = cpu.multikernel_count
                machine.inject(fixed(cpu.apic_id, MULTIKERNEL_VECTOR))
                self.stage.go_on()
                rings = cpu.multikernel_count > before
                who = f"CPU {cpu.number} of {name}"
                if rings and own:
                    found.append(f"{who} goes on, though its kernel stopped it")
                elif not rings and not own:
                    found.append(f"{who} is stopped for good by {self.stopper.config.name}")
        return found

    def _work(self, cpu: Cpu) -> Body:
        for _ in range(self.stage.draw(_WORK)):
            yield Nop()
        if cpu is self.stopping:
            stops = self.stops[cpu.kernel.config.instance_id]
            shorthand = self.stage.choose("send") == "all"
            yield from stops.stop_other_cpus(cpu, by=self.by, shorthand=shorthand)
