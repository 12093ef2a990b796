"""A message of no bytes, where the size is the flag."""

from typing import TYPE_CHECKING, Any, ClassVar

from mkrpc.instance.execution import Body
from mkrpc.instance.instructions import Nop
from mkrpc.instance.multikernel.catalogue import channel_named
from mkrpc.instance.multikernel.channel import Delivery
from mkrpc.instance.multikernel.ipi_switches import IpiSwitches
from mkrpc.scenarios.linked import USER_TYPE, linked, numbered
from mkrpc.scenarios.scenario import Scenario, Switch

if TYPE_CHECKING:
    from mkrpc.instance.cpu import Cpu

__all__ = ["ZeroLengthSend"]

_MESSAGES = 3
_GAP = 20


class ZeroLengthSend(Scenario):
    """A send of no bytes claims a slot and never publishes it: the ring stands still for everybody

    Hardware: none of this; the doorbell rings as for any other message.

    Upstream: data_size is the flag that publishes a slot. A size of 0 is legal for the sender and
    means "not filled yet" to the receiver, which stops there for ever; in the ring before that it
    was skipped, and the message lost.
    """

    name: ClassVar[str] = "zero-length-send"
    switches: ClassVar[tuple[Switch, ...]] = (
        Switch("empty", "what a send of no bytes is", ("accepted", "refused")),
        Switch(
            "channel", "which carries the messages", ("publish-flag", "mpsc-ring", "link-rings")
        ),
    )
    defect: ClassVar[dict[str, str]] = {"empty": "accepted", "channel": "publish-flag"}
    remedies: ClassVar[tuple[dict[str, str], ...]] = (
        {"empty": "refused"},
        {"channel": "link-rings"},
    )

    def play(self) -> None:
        """Two kernels send to a third; one message of theirs, the seed draws which, is empty."""
        stage = self.stage
        refuses = stage.choose("empty") == "refused"
        self.ends = linked(
            stage,
            channel_named(stage.choose("channel")),
            kernels=3,
            switches=IpiSwitches(refuses_empty=refuses),
        )
        self.sent: list[bytes] = []
        self.received: list[bytes] = []
        self.empty = (1 + stage.draw(2), stage.draw(_MESSAGES))
        self.ends[0].register_handler(USER_TYPE, self._arrived)
        for number in (1, 2):
            stage.machine.kernels[number].start_program(0, self._sender)
        stage.go_on()

    def check(self) -> list[str]:
        """Whatever was accepted has arrived."""
        missing = [data for data in self.sent if data not in self.received]
        if not missing:
            return []
        return [
            f"{len(missing)} of {len(self.sent)} messages that were accepted never arrive, "
            f"{missing.count(b'')} of them empty"
        ]

    def _sender(self, cpu: "Cpu") -> Body:
        number = cpu.kernel.config.instance_id
        for index in range(_MESSAGES):
            data = b"" if (number, index) == self.empty else numbered(number, index)
            if (yield from self.ends[number].send_ipi_data(0, data, USER_TYPE)) == 0:
                self.sent.append(data)
            for _ in range(self.stage.draw(_GAP)):
                yield Nop()

    def _arrived(self, _cpu: "Cpu", delivery: Delivery, _ctx: Any) -> None:
        self.received.append(delivery.data)
