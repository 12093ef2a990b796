"""The doorbell that arrives before what it announces."""

from typing import TYPE_CHECKING, Any, ClassVar

from mkrpc.instance.execution import Body
from mkrpc.instance.instructions import Nop
from mkrpc.instance.multikernel.channel import Delivery
from mkrpc.instance.multikernel.channels.link_rings import LinkRings
from mkrpc.instance.multikernel.ipi_switches import IpiSwitches
from mkrpc.scenarios.linked import USER_TYPE, linked, numbered
from mkrpc.scenarios.scenario import Scenario, Switch
from mkrpc.x86.lapic import ApicMode

if TYPE_CHECKING:
    from mkrpc.instance.cpu import Cpu

__all__ = ["X2apicOvertakesStore"]

_MESSAGES = 3
_WORK = 40


class X2apicOvertakesStore(Scenario):
    """An x2APIC's doorbell overtakes the store of its message, and the receiver finds nothing

    Hardware: a WRMSR to an x2APIC register is not serialising (SDM vol. 3, 10.12.3): the IPI can be
    accepted while the stores before it still wait in the store buffer. A write to the page of an
    xAPIC is uncacheable and drains it, so that the same code is right there.

    Upstream: native_x2apic_icr_write has a fence of its own (weak_wrmsr_fence), so that the series
    is right by way of it; a sender that writes the MSR itself is not. The handler finds nothing,
    the message comes into sight afterwards, and nobody rings again.
    """

    name: ClassVar[str] = "x2apic-overtakes-store"
    switches: ClassVar[tuple[Switch, ...]] = (
        Switch("fence", "MFENCE between message and doorbell", ("no", "yes")),
        Switch("store_buffer", "stores that wait in a CPU", ("0", "16")),
        Switch("mode", "of the local APICs", ("xapic", "x2apic")),
    )
    defect: ClassVar[dict[str, str]] = {"fence": "no", "store_buffer": "16", "mode": "x2apic"}
    remedies: ClassVar[tuple[dict[str, str], ...]] = (
        {"fence": "yes"},
        {"mode": "xapic"},
        {"store_buffer": "0"},
    )

    def play(self) -> None:
        """One kernel sends messages to another and goes on with work that stores nothing."""
        choose = self.stage.choose
        self.ends = linked(
            self.stage,
            LinkRings,
            kernels=2,
            switches=IpiSwitches(fence=choose("fence") == "yes"),
            mode=ApicMode[choose("mode").upper()],
            store_buffer=int(choose("store_buffer")),
        )
        self.received: list[bytes] = []
        self.ends[1].register_handler(USER_TYPE, self._arrived)
        self.stage.machine.kernels[0].start_program(0, self._sender)
        self.stage.go_on()

    def check(self) -> list[str]:
        """Every message has arrived."""
        left = _MESSAGES - len(self.received)
        if not left:
            return []
        return [
            f"{left} of {_MESSAGES} messages came into sight behind their doorbell: "
            f"{self.ends[1].interrupts} interrupts found {len(self.received)}"
        ]

    def _sender(self, _cpu: "Cpu") -> Body:
        for index in range(_MESSAGES):
            assert not (yield from self.ends[0].send_ipi_data(1, numbered(0, index), USER_TYPE))
            for _ in range(self.stage.draw(_WORK)):
                yield Nop()

    def _arrived(self, _cpu: "Cpu", delivery: Delivery, _ctx: Any) -> None:
        self.received.append(delivery.data)
