"""A message that says somebody else has halted."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from mkrpc.instance.execution import Body
from mkrpc.instance.instructions import Cli, Hlt, Load, Nop, Store, WriteIcr
from mkrpc.instance.multikernel.channels.link_rings import LinkRings
from mkrpc.instance.multikernel.messages import MkMessages, Received
from mkrpc.instance.multikernel.mk_message import MkType, ShutdownPayload, Subtype
from mkrpc.scenarios.linked import linked
from mkrpc.scenarios.scenario import Scenario, Switch
from mkrpc.x86.icr import init_assert

if TYPE_CHECKING:
    from mkrpc.instance.cpu import Cpu

__all__ = ["ForgedHalted"]

_HOST, _VICTIM, _FORGER = 0, 1, 2
_WORK = 120
_PARKED_BYTES = 64


class ForgedHalted(Scenario):
    """A forged HALTED names somebody else, and the host takes the CPU of a kernel that runs

    Hardware: an INIT stops whatever CPU it is sent to, with all that it was doing.

    Upstream: MK_SYS_HALTED says in its payload who has halted; the host believes it, settles that
    instance to "loaded" and may give its CPUs away. There is no nonce, and the sender in the ring
    is whoever it says it is. For a graceful halt the host confirms that the CPUs are parked.
    """

    name: ClassVar[str] = "forged-halted"
    switches: ClassVar[tuple[Switch, ...]] = (
        Switch("believe", "who has halted: as it says, or who sent it", ("payload", "channel")),
        Switch("confirm", "the host looks whether the CPU is parked", ("no", "yes")),
    )
    defect: ClassVar[dict[str, str]] = {"believe": "payload", "confirm": "no"}
    remedies: ClassVar[tuple[dict[str, str], ...]] = ({"believe": "channel"}, {"confirm": "yes"})

    def play(self) -> None:
        """One child works and then halts; another one says at some time that it has."""
        stage = self.stage
        self.ends = linked(stage, LinkRings, kernels=3, more_bytes=_PARKED_BYTES)
        channel = self.ends[_HOST].channel
        assert channel is not None
        self.parked_at = channel.memory_bytes + 7 & ~7
        self.messages = [MkMessages(end, spawn=1) for end in self.ends]
        self.messages[_HOST].register_handler(MkType.MK_MSG_SYSTEM, self._settle)
        self.finished = False
        self.taken: list[int] = []
        self.taken_early = False
        stage.machine.kernels[_VICTIM].start_program(0, self._work)
        stage.machine.kernels[_FORGER].start_program(0, self._forge)
        stage.go_on()

    def check(self) -> Sequence[str]:
        """Nobody's CPU was taken while it worked, and whoever has halted is settled."""
        found = []
        if self.taken_early:
            found.append(f"the host has taken the CPU of mk{_VICTIM}, which was at work")
        elif _VICTIM not in self.taken:
            found.append(f"mk{_VICTIM} has halted, and the host does not know")
        return found

    def _settle(self, _cpu: "Cpu", received: Received, _ctx: Any) -> Body:
        payload = ShutdownPayload.decode(received.message.payload)
        if payload is None or received.message.msg_subtype != Subtype.MK_SYS_HALTED:
            return
        who = payload.sender_instance_id
        if self.stage.choose("believe") == "channel" and who != received.sender:
            return
        if self.stage.choose("confirm") == "yes" and not (yield Load(self.parked_at + 8 * who)):
            return
        self.taken.append(who)
        self.taken_early = self.taken_early or not self.finished
        yield WriteIcr(init_assert(who))

    def _work(self, _cpu: "Cpu") -> Body:
        for _ in range(self.stage.draw(_WORK)):
            yield Nop()
        yield Cli()
        self.finished = True
        yield Store(self.parked_at + 8 * _VICTIM, 1)
        yield from self._say(_VICTIM)
        yield Cli()
        yield Hlt()

    def _forge(self, _cpu: "Cpu") -> Body:
        for _ in range(self.stage.draw(_WORK)):
            yield Nop()
        yield from self._say(_FORGER)

    def _say(self, number: int) -> Body:
        halted = ShutdownPayload(0, _VICTIM).encode()
        yield from self.messages[number].send(
            _HOST, MkType.MK_MSG_SYSTEM, Subtype.MK_SYS_HALTED, halted
        )
