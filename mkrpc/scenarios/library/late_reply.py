"""The answer to a question that was given up."""

from errno import EBUSY
from typing import TYPE_CHECKING, Any, ClassVar

from mkrpc.instance.execution import Body
from mkrpc.instance.instructions import Nop
from mkrpc.instance.multikernel.channels.link_rings import LinkRings
from mkrpc.instance.multikernel.messages import MkMessages, Received
from mkrpc.instance.multikernel.mk_message import CpuPayload, MkType, Subtype
from mkrpc.instance.multikernel.requests import RESOURCE_TIMEOUT_US
from mkrpc.scenarios.linked import linked
from mkrpc.scenarios.scenario import Scenario, Switch

if TYPE_CHECKING:
    from mkrpc.instance.cpu import Cpu

__all__ = ["LateReply"]

_CPU = 4
_WORK = 120
_PATIENCE = 3_000


class LateReply(Scenario):
    """A reply that comes after its time-out completes a newer request for the same resource

    Hardware: none of this; messages arrive in order, and as late as they like.

    Upstream: a pending request is known by type, operation and resource, and waits for 10 s. The
    reply to one that was given up finds the next one for the same CPU, and ends it with a result
    that is not its own; so a lost ACK leaves it uncertain who owns what (PR #39).
    """

    name: ClassVar[str] = "late-reply"
    switches: ClassVar[tuple[Switch, ...]] = (Switch("ids", "of messages", ("zero", "unique")),)
    defect: ClassVar[dict[str, str]] = {"ids": "zero"}
    remedies: ClassVar[tuple[dict[str, str], ...]] = ({"ids": "unique"},)
    seed: ClassVar[int] = 1

    def play(self) -> None:
        """The host asks for a CPU to be added, gives up, and asks again; the first question is
        answered with -EBUSY when it is too late, the second one with 0."""
        stage = self.stage
        self.ends = linked(stage, LinkRings, kernels=2)
        unique = stage.choose("ids") == "unique"
        self.messages = [MkMessages(end, spawn=1, unique_ids=unique) for end in self.ends]
        self.messages[1].register_handler(MkType.MK_MSG_RESOURCE, self._asked)
        self.questions: list[Received] = []
        self.results: list[int] = []
        kernels = stage.machine.kernels
        kernels[0].start_program(0, self._ask)
        stage.go_on(at_most=_PATIENCE, until=lambda: bool(self.questions))
        stage.machine.now_us += RESOURCE_TIMEOUT_US
        kernels[1].start_program(0, self._answer)
        stage.go_on()

    def check(self) -> list[str]:
        """The second request has the result that was meant for it."""
        if self.results[1:] == [0]:
            return []
        return [f"the second request ended with {self.results[1:]}, the reply to the first"]

    def _ask(self, _cpu: "Cpu") -> Body:
        for _ in range(2):
            payload = CpuPayload(_CPU, 0, 0, 0).encode()
            request = yield from self.messages[0].request(
                1, Subtype.MK_RES_CPU_ADD, payload, resource_id=_CPU
            )
            self.results.append((yield from self.messages[0].wait(request)))
            for _ in range(self.stage.draw(_WORK)):
                yield Nop()

    def _asked(self, _cpu: "Cpu", received: Received, _ctx: Any) -> None:
        self.questions.append(received)

    def _answer(self, _cpu: "Cpu") -> Body:
        for number, result in enumerate((-EBUSY, 0)):
            while len(self.questions) <= number:
                yield Nop()
            for _ in range(self.stage.draw(_WORK)):
                yield Nop()
            yield from self.messages[1].acknowledge(
                0, self.questions[number].message, resource_id=_CPU, result=result
            )
