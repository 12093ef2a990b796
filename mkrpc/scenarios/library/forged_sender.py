"""A sender that says it is somebody else."""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from mkrpc.instance.execution import Body
from mkrpc.instance.instructions import Nop
from mkrpc.instance.multikernel.catalogue import channel_named
from mkrpc.instance.multikernel.channel import Channel, Delivery
from mkrpc.scenarios.linked import USER_TYPE, linked, numbered
from mkrpc.scenarios.scenario import Scenario, Switch

if TYPE_CHECKING:
    from mkrpc.instance.cpu import Cpu

__all__ = ["ForgedSender"]

_VICTIM, _FORGER = 1, 2
_MESSAGES = 3


class ForgedSender(Scenario):
    """A message says that it comes from somebody else, and the receiver believes it

    Hardware: an interrupt carries a vector and nothing else; who rang, no CPU is told.

    Upstream: sender_cpu is a field that whoever can write the ring fills in. With a ring for each
    pair a sender is known by where its message lies. That holds against a kernel that keeps to its
    own rings; against one that writes into the memory of others only the page tables of real
    hardware help, and here nothing does.
    """

    name: ClassVar[str] = "forged-sender"
    switches: ClassVar[tuple[Switch, ...]] = (
        Switch("channel", "which carries the messages", ("publish-flag", "link-rings")),
    )
    defect: ClassVar[dict[str, str]] = {"channel": "publish-flag"}
    remedies: ClassVar[tuple[dict[str, str], ...]] = ({"channel": "link-rings"},)

    def play(self) -> None:
        """Two kernels send to a third, which counts by sender; one says that it is the other."""
        kind = channel_named(self.stage.choose("channel"))
        forged = type("Forged", (kind,), {"sender_id": _VICTIM})

        def make(instances: Sequence[int], *, own: int, max_data: int) -> Channel:
            made: Channel = (forged if own == _FORGER else kind)(
                instances, own=own, max_data=max_data
            )
            return made

        self.ends = linked(self.stage, make, kernels=3)
        self.sent: Counter[int] = Counter()
        self.counted: Counter[int] = Counter()
        self.ends[0].register_handler(USER_TYPE, self._arrived)
        for number in (_VICTIM, _FORGER):
            self.stage.machine.kernels[number].start_program(0, self._sender)
        self.stage.go_on()

    def check(self) -> list[str]:
        """To each is counted what it has sent."""
        return [
            f"to mk{number} are counted {self.counted[number]} messages, it has sent "
            f"{self.sent[number]}"
            for number in (_VICTIM, _FORGER)
            if self.counted[number] != self.sent[number]
        ]

    def _sender(self, cpu: "Cpu") -> Body:
        number = cpu.kernel.config.instance_id
        for index in range(1 + self.stage.draw(_MESSAGES)):
            while (
                yield from self.ends[number].send_ipi_data(0, numbered(number, index), USER_TYPE)
            ):
                yield Nop()
            self.sent[number] += 1

    def _arrived(self, _cpu: "Cpu", delivery: Delivery, _ctx: Any) -> None:
        self.counted[delivery.sender] += 1
