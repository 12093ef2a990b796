"""An answer to a shutdown from somebody who was not asked."""

from typing import TYPE_CHECKING, Any, ClassVar

from mkrpc.instance.execution import Body
from mkrpc.instance.instructions import Nop
from mkrpc.instance.multikernel.catalogue import channel_named
from mkrpc.instance.multikernel.messages import MkMessages, Received
from mkrpc.instance.multikernel.mk_message import MkType, ShutdownPayload, Subtype
from mkrpc.instance.multikernel.requests import SHUTDOWN_TIMEOUT_US, MessageIds
from mkrpc.scenarios.linked import linked
from mkrpc.scenarios.scenario import Scenario, Switch

if TYPE_CHECKING:
    from mkrpc.instance.cpu import Cpu

__all__ = ["ForgedShutdownAck"]

_HOST, _VICTIM, _FORGER = 0, 1, 2
_SPAWN = 1
_WORK = 150
_PATIENCE = 2_000


class ForgedShutdownAck(Scenario):
    """A forged SHUTDOWN_ACK ends the wait for somebody else, who still works

    Hardware: an interrupt names no sender.

    Upstream: an ACK is matched by type, operation and the instance that it says it is of; msg_id is
    always 0. Whoever can write the ring answers for everybody. Ids that are unique are no secret
    either: they are counted up, and the forger here guesses right. It takes a channel that knows
    its senders as well.
    """

    name: ClassVar[str] = "forged-shutdown-ack"
    switches: ClassVar[tuple[Switch, ...]] = (
        Switch("ids", "of messages", ("zero", "unique")),
        Switch("channel", "which carries the messages", ("publish-flag", "link-rings")),
    )
    defect: ClassVar[dict[str, str]] = {"ids": "zero", "channel": "publish-flag"}
    remedies: ClassVar[tuple[dict[str, str], ...]] = ({"ids": "unique", "channel": "link-rings"},)
    seed: ClassVar[int] = 1

    def play(self) -> None:
        """The host asks one child to shut down; another one answers at some time."""
        stage = self.stage
        self.ends = linked(stage, channel_named(stage.choose("channel")), kernels=3)
        unique = stage.choose("ids") == "unique"
        self.messages = [MkMessages(end, spawn=_SPAWN, unique_ids=unique) for end in self.ends]
        self.messages[_VICTIM].register_handler(MkType.MK_MSG_SYSTEM, self._asked)
        self.acknowledged = False
        self.too_early = False
        self.results: list[int] = []
        self.questions: list[Received] = []
        kernels = stage.machine.kernels
        kernels[_HOST].start_program(0, self._ask)
        kernels[_VICTIM].start_program(0, self._work)
        kernels[_FORGER].start_program(0, self._forge)
        if not stage.go_on(at_most=_PATIENCE, until=lambda: bool(self.results)):
            stage.machine.now_us += SHUTDOWN_TIMEOUT_US
        stage.go_on()

    def check(self) -> list[str]:
        """The wait ends well only when the one who was asked has answered."""
        if self.too_early:
            return [f"the host was told that mk{_VICTIM} shuts down, which still works"]
        return []

    def _ask(self, _cpu: "Cpu") -> Body:
        request = yield from self.messages[_HOST].shut_down(_VICTIM)
        result = yield from self.messages[_HOST].wait(request)
        self.results.append(result)
        self.too_early = result == 0 and not self.acknowledged

    def _asked(self, _cpu: "Cpu", received: Received, _ctx: Any) -> None:
        self.questions.append(received)

    def _work(self, _cpu: "Cpu") -> Body:
        while not self.questions:
            yield Nop()
        for _ in range(self.stage.draw(_WORK)):
            yield Nop()
        self.acknowledged = True
        yield from self.messages[_VICTIM].acknowledge(
            _HOST, self.questions[0].message, resource_id=_VICTIM
        )

    def _forge(self, _cpu: "Cpu") -> Body:
        for _ in range(self.stage.draw(_WORK)):
            yield Nop()
        yield from self.messages[_FORGER].send(
            _HOST,
            MkType.MK_MSG_SYSTEM,
            Subtype.MK_SYS_SHUTDOWN_ACK,
            ShutdownPayload(0, _VICTIM).encode(),
            msg_id=MessageIds(_HOST, spawn=_SPAWN).next(),
        )
