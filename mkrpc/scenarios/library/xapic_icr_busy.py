"""Two doorbells back to back from an xAPIC that is still busy with the first."""

from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

from mkrpc.instance.execution import Body
from mkrpc.instance.instructions import Nop
from mkrpc.instance.multikernel.channel import Delivery
from mkrpc.instance.multikernel.channels.link_rings import LinkRings
from mkrpc.instance.multikernel.ipi_switches import IpiSwitches
from mkrpc.scenarios.linked import USER_TYPE, linked, numbered
from mkrpc.scenarios.scenario import Scenario, Switch
from mkrpc.x86.apic_policy import ApicPolicy
from mkrpc.x86.lapic import ApicMode

if TYPE_CHECKING:
    from mkrpc.instance.cpu import Cpu

__all__ = ["XapicIcrBusy"]

_KERNELS = 4
_GAP = 40


class XapicIcrBusy(Scenario):
    """Doorbells back to back on an xAPIC, without waiting for ICR idle: all but the first are lost

    Hardware: an xAPIC has one ICR, and its delivery status, bit 12, reads 1 until the message is
    accepted. The SDM tells software to wait; what becomes of one that does not, it leaves open: an
    APIC may send both or lose the second. In x2APIC mode there is no such bit.

    Upstream: mk_arch_send_ipi writes the ICR without waiting, where mk_force_stop_cpu waits and
    says why: otherwise "back-to-back sends lose all but the first on xAPIC". The message of a
    doorbell that was lost lies there until somebody rings for another.
    """

    name: ClassVar[str] = "xapic-icr-busy"
    switches: ClassVar[tuple[Switch, ...]] = (
        Switch("icr_busy", "what an ICR write at a busy time is", ("never", "queue", "drop")),
        Switch("wait", "the sender waits until delivery status is idle", ("no", "yes")),
        Switch("mode", "of the local APICs", ("xapic", "x2apic")),
    )
    defect: ClassVar[dict[str, str]] = {"icr_busy": "drop", "wait": "no", "mode": "xapic"}
    remedies: ClassVar[tuple[dict[str, str], ...]] = (
        {"wait": "yes"},
        {"icr_busy": "queue"},
        {"mode": "x2apic"},
    )

    def play(self) -> None:
        """One kernel sends each of three others a message; the seed draws how soon after each
        other."""
        choose = self.stage.choose
        icr_busy = cast(Literal["never", "queue", "drop"], choose("icr_busy"))
        self.ends = linked(
            self.stage,
            LinkRings,
            kernels=_KERNELS,
            switches=IpiSwitches(waits_for_icr_idle=choose("wait") == "yes"),
            mode=ApicMode[choose("mode").upper()],
            apic_policy=ApicPolicy(icr_busy=icr_busy),
        )
        self.received: set[int] = set()
        for end in self.ends[1:]:
            end.register_handler(USER_TYPE, self._arrived, end.kernel.config.instance_id)
        self.stage.machine.kernels[0].start_program(0, self._sender)
        self.stage.go_on()

    def check(self) -> list[str]:
        """Whoever was sent a message has it."""
        return [
            f"the doorbell of mk{number} is lost, its message lies there"
            for number in range(1, _KERNELS)
            if number not in self.received
        ]

    def _sender(self, _cpu: "Cpu") -> Body:
        for number in range(1, _KERNELS):
            assert not (yield from self.ends[0].send_ipi_data(number, numbered(0, 1), USER_TYPE))
            for _ in range(self.stage.draw(_GAP)):
                yield Nop()

    def _arrived(self, _cpu: "Cpu", _delivery: Delivery, number: Any) -> None:
        self.received.add(number)
