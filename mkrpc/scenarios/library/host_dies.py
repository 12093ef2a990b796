"""The host dies, and its children go on, or do not."""

from typing import TYPE_CHECKING, Any, ClassVar

from mkrpc.instance.execution import Body
from mkrpc.instance.instructions import Nop
from mkrpc.instance.multikernel.catalogue import channel_named
from mkrpc.instance.multikernel.channel import Delivery
from mkrpc.scenarios.linked import USER_TYPE, linked, numbered
from mkrpc.scenarios.scenario import Scenario, Switch

if TYPE_CHECKING:
    from mkrpc.instance.cpu import Cpu

__all__ = ["HostDies"]

_HOST = 0
_CHILDREN = (1, 2)
_LIFE = 150
_BEATS = 3
_BEAT_TYPE = 0x4001
_PATIENCE = 4_000


class HostDies(Scenario):
    """The host dies, and its children, which live, do not reach each other any more

    Hardware: other CPUs do not notice. A doorbell to a CPU that is no more finds no APIC, and
    whoever rings it is not told.

    Upstream: a link joins a parent and a child, so that children reach each other by way of the
    host; with one ring for each receiver, a host that dies between claim and publish also stops the
    rings of its children. What happens when the main kernel crashes was the first question of
    readers; emergency_restart is refused while children are active.
    """

    name: ClassVar[str] = "host-dies"
    switches: ClassVar[tuple[Switch, ...]] = (
        Switch("route", "how a child's message gets to another", ("host", "direct")),
        Switch("channel", "which carries the messages", ("publish-flag", "link-rings")),
    )
    defect: ClassVar[dict[str, str]] = {"route": "host", "channel": "publish-flag"}
    remedies: ClassVar[tuple[dict[str, str], ...]] = ({"route": "direct", "channel": "link-rings"},)

    def play(self) -> None:
        """The host sends beats to its children and dies at an instruction that the seed draws;
        then each child sends the other a message."""
        stage = self.stage
        self.ends = linked(stage, channel_named(stage.choose("channel")), kernels=3)
        self.received: list[bytes] = []
        self.ends[_HOST].register_handler(USER_TYPE, self._forward)
        for child in _CHILDREN:
            self.ends[child].register_handler(USER_TYPE, self._arrived)
            self.ends[child].register_handler(_BEAT_TYPE, self._beat)
        kernels = stage.machine.kernels
        kernels[_HOST].start_program(0, self._beats)
        stage.crash_after(_HOST, 1 + stage.draw(_LIFE))
        stage.go_on(at_most=_PATIENCE, until=lambda: _HOST not in kernels)
        for child in _CHILDREN:
            kernels[child].start_program(0, self._sender)
        stage.go_on(at_most=_PATIENCE)

    def check(self) -> list[str]:
        """Each child has the message of the other."""
        missing = [child for child in _CHILDREN if self._message(child) not in self.received]
        if not missing:
            return []
        senders = ", ".join(f"mk{child}" for child in missing)
        return [f"the messages of {senders} do not arrive, since the host is dead"]

    def _message(self, child: int) -> bytes:
        return numbered(child, 3 - child)  # the low half: whom it is for

    def _sender(self, cpu: "Cpu") -> Body:
        own = cpu.kernel.config.instance_id
        target = 3 - own if self.stage.choose("route") == "direct" else _HOST
        while (yield from self.ends[own].send_ipi_data(target, self._message(own), USER_TYPE)):
            yield Nop()

    def _forward(self, _cpu: "Cpu", delivery: Delivery, _ctx: Any) -> Body:
        target = int.from_bytes(delivery.data[:2], "little")
        yield from self.ends[_HOST].send_ipi_data(target, delivery.data, USER_TYPE)

    def _beats(self, _cpu: "Cpu") -> Body:
        for index in range(_BEATS):
            for child in _CHILDREN:
                yield from self.ends[_HOST].send_ipi_data(child, numbered(0, index), _BEAT_TYPE)
        while True:
            yield Nop()

    def _beat(self, _cpu: "Cpu", _delivery: Delivery, _ctx: Any) -> None:
        """Nothing hangs on it."""

    def _arrived(self, _cpu: "Cpu", delivery: Delivery, _ctx: Any) -> None:
        self.received.append(delivery.data)
