"""A sender that dies between claim and publish."""

from typing import TYPE_CHECKING, Any, ClassVar

from mkrpc.instance.execution import Body
from mkrpc.instance.instructions import Nop
from mkrpc.instance.multikernel.catalogue import channel_named
from mkrpc.instance.multikernel.channel import Delivery
from mkrpc.scenarios.linked import USER_TYPE, linked, numbered
from mkrpc.scenarios.scenario import Scenario, Switch

if TYPE_CHECKING:
    from mkrpc.instance.cpu import Cpu

__all__ = ["SenderDies"]

_MESSAGES = 3
_LIFE = 90
_PATIENCE = 4_000
_SURVIVOR, _VICTIM = 1, 2


class SenderDies(Scenario):
    """A sender dies between claim and publish, and what others send is stuck behind it

    Hardware: an NMI, or whatever else ends a kernel, comes between any two of its stores, and what
    it has stored stays in memory that others share.

    Upstream: a producer claims a slot by a compare-and-exchange of head and publishes it by its
    size. Killed in between, it leaves a slot at which the receiver stops for ever; only the
    re-spawn of the ring's owner drops it (mk_ipi_ring_drop_pending). The later tree has rings for
    each pair.
    """

    name: ClassVar[str] = "sender-dies-mid-publish"
    switches: ClassVar[tuple[Switch, ...]] = (
        Switch("channel", "which carries the messages", ("publish-flag", "ikc", "link-rings")),
    )
    defect: ClassVar[dict[str, str]] = {"channel": "publish-flag"}
    remedies: ClassVar[tuple[dict[str, str], ...]] = ({"channel": "link-rings"},)
    seed: ClassVar[int] = 2

    def play(self) -> None:
        """Two kernels send to a third; one of them dies at an instruction that the seed draws."""
        stage = self.stage
        self.ends = linked(stage, channel_named(stage.choose("channel")), kernels=3)
        self.sent: list[bytes] = []
        self.received: list[bytes] = []
        self.ends[0].register_handler(USER_TYPE, self._arrived)
        self.sending = True
        for number in (_SURVIVOR, _VICTIM):
            stage.machine.kernels[number].start_program(0, self._sender)
        stage.crash_after(_VICTIM, 1 + stage.draw(_LIFE))
        stage.go_on(at_most=_PATIENCE)

    def check(self) -> list[str]:
        """The one who lives comes to an end, and all that it sent arrives."""
        missing = [data for data in self.sent if data not in self.received]
        found = []
        if self.sending:
            found.append("the sender that lives hangs in its send")
        if missing:
            found.append(
                f"{len(missing)} of {len(self.sent)} messages of the one who lives are stuck"
            )
        return found

    def _sender(self, cpu: "Cpu") -> Body:
        number = cpu.kernel.config.instance_id
        for index in range(_MESSAGES):
            data = numbered(number, index)
            while (yield from self.ends[number].send_ipi_data(0, data, USER_TYPE)):
                yield Nop()
            if number == _SURVIVOR:
                self.sent.append(data)
        self.sending = self.sending and number != _SURVIVOR

    def _arrived(self, _cpu: "Cpu", delivery: Delivery, _ctx: Any) -> None:
        self.received.append(delivery.data)
