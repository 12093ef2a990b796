"""The doorbell that merges while its receiver drains."""

from typing import TYPE_CHECKING, Any, ClassVar

from mkrpc.instance.execution import Body
from mkrpc.instance.instructions import Nop
from mkrpc.instance.multikernel.channel import Delivery
from mkrpc.instance.multikernel.channels.link_rings import LinkRings
from mkrpc.instance.multikernel.ipi_switches import IpiSwitches
from mkrpc.scenarios.linked import USER_TYPE, linked, numbered
from mkrpc.scenarios.scenario import Scenario, Switch

if TYPE_CHECKING:
    from mkrpc.instance.cpu import Cpu

__all__ = ["DoorbellCoalesced"]

_SENDERS = 2
_MESSAGES = 5
_PER_INTERRUPT = {"one": 1, "four": 4, "all": 1 << 30}


class DoorbellCoalesced(Scenario):
    """A doorbell merges while its receiver drains, and messages lie there that nobody announces

    Hardware: an IRR has one bit for each vector. Doorbells that come while it is set are one
    interrupt; sysvec_multikernel sends its EOI first, so that one more can wait while it drains.

    Upstream: a receiver takes at most 64 messages at one interrupt; the first series takes one. The
    review of PR #7: "A doorbell can be coalesced while the target is draining this ring. Kick it
    again". The rest of the ring waits until somebody rings for another reason.
    """

    name: ClassVar[str] = "doorbell-coalesced"
    switches: ClassVar[tuple[Switch, ...]] = (
        Switch("drain", "messages that are taken at one interrupt", ("one", "four", "all")),
        Switch("kick", "a receiver that stops at that many rings itself", ("no", "yes")),
    )
    defect: ClassVar[dict[str, str]] = {"drain": "four", "kick": "no"}
    seed: ClassVar[int] = 23
    remedies: ClassVar[tuple[dict[str, str], ...]] = ({"kick": "yes"}, {"drain": "all"})

    def play(self) -> None:
        """Two kernels send five messages each to a third, as fast as they can."""
        drain = _PER_INTERRUPT[self.stage.choose("drain")]

        class Rings(LinkRings):
            per_interrupt = drain

        kick = IpiSwitches(rings_itself=self.stage.choose("kick") == "yes")
        self.stage.link_every = 12
        self.ends = linked(self.stage, Rings, kernels=1 + _SENDERS, switches=kick)
        self.sent: list[bytes] = []
        self.received: list[bytes] = []
        assert self.ends[0].register_handler(USER_TYPE, self._arrived) == 0
        for number in range(1, 1 + _SENDERS):
            self.stage.machine.kernels[number].start_program(0, self._sender)
        self.stage.go_on()

    def check(self) -> list[str]:
        """Everything that was sent has arrived, though nobody rings any more."""
        left = len(self.sent) - len(self.received)
        rung = sum(end.rung for end in self.ends)
        if not left:
            return []
        return [
            f"{left} of {len(self.sent)} messages lie in the ring and nobody comes for them; "
            f"{rung} doorbells were {self.ends[0].interrupts} interrupts"
        ]

    def _sender(self, cpu: "Cpu") -> Body:
        number = cpu.kernel.config.instance_id
        for index in range(_MESSAGES):
            data = numbered(number, index)
            while (yield from self.ends[number].send_ipi_data(0, data, USER_TYPE)):
                yield Nop()
            self.sent.append(data)

    def _arrived(self, _cpu: "Cpu", delivery: Delivery, _ctx: Any) -> None:
        self.received.append(delivery.data)
