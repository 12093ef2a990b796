"""CPUs that move from one running kernel to another while all else happens.

Who is to have which CPU is kept here, as by host agents: a process that begins has those of its
instance, and what is on its way is nobody's. Steps ask a giver, then a taker, as an operator does;
what is refused, or never answered, is left for a later step to begin again.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from mkrpc.errors import MkrpcError, UnavailableError
from mkrpc.instance.config import KernelConfig
from mkrpc.interconnect.tally import Tally
from mkrpc.link.frames import CommandKind, Reply
from mkrpc.simulation.options import Options, RngSource
from mkrpc.simulation.plan import Step
from mkrpc.x86.icr import init_assert, startup

if TYPE_CHECKING:
    from mkrpc.simulation.world import World

__all__ = ["CpuMoves", "draw_moves"]

_MOST = 12
"""Steps of one run."""
_BOOT_CPUS = 0.1
"""The share of boot CPUs, which refuse."""
_START_PAGE = 0x08
_LATER_US = 2_000
"""From one thing that is asked to the next, at most."""
_TRIES = 20
"""How often somebody asks for a CPU to which something is still on its way."""


def draw_moves(options: Options, rng_of: RngSource, number: int) -> Iterator[Step]:
    """Steps that move CPUs, numbered after ``number``, from a stream of their own."""
    rng = rng_of("cpu moves")
    # A few of them, so that one moves several times.
    boot = [each.apic_ids[0] for each in options.instances]
    others = [apic_id for each in options.instances for apic_id in each.apic_ids[1:]]
    chosen = [
        rng.choice(boot if not others or rng.random() < _BOOT_CPUS else others)
        for _ in range(rng.randrange(1, 4))
    ]
    for _ in range(rng.randrange(1, _MOST + 1)):
        number += 1
        yield Step(
            number=number,
            at_us=rng.randrange(0, options.busy_us),
            kind="move",
            instance_id=rng.choice(options.instances).instance_id,
            word=rng.choice(chosen),
        )


class CpuMoves:
    """Of one run. ``owners``: who is to have each CPU, None for nobody. ``moved``: APIC ids that
    have ever been given away. ``open``: what is asked and not answered, by APIC id."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._rng = world.rng_of("cpu moves under way")
        self.owners: dict[int, int | None] = {
            apic_id: each.instance_id
            for each in world.options.instances
            for apic_id in each.apic_ids
        }
        self.moved: set[int] = set()
        self.open: set[int] = set()

    def config_of(self, config: KernelConfig) -> KernelConfig:
        """With the CPUs that the instance is to have when its process begins."""
        of_it = [apic_id for apic_id, to in self.owners.items() if to == config.instance_id]
        if len(of_it) == len(config.apic_ids) and not self.moved:
            return config
        first = config.apic_ids[0]
        rest = sorted(apic_id for apic_id in of_it if apic_id != first)
        return replace(config, apic_ids=(first, *rest))

    def hub_died(self) -> None:
        """Nobody answers any more what was asked of it."""
        self.open.clear()

    def perform(self, step: Step) -> None:
        """Have the CPU at the instance that the step names, wherever it is."""
        self._world.note(str(step))
        if self.owners[step.word] is None:
            self._world.hub.turn(self._add, step.word, step.instance_id, _TRIES)
        else:
            self._world.hub.turn(self._remove, step.word, step.instance_id)

    def _remove(self, apic_id: int, taker: int) -> None:
        giver = self.owners[apic_id]
        if giver is None or apic_id in self.open:
            return
        life = self._world.nodes[giver].life

        def gone(reply: Reply) -> None:
            done = self._note(f"apic {apic_id} from i{giver}", reply)
            # Another life has it again: nobody had told its host agent.
            if done and life is not None and self._world.nodes[giver].life is life:
                self.owners[apic_id] = None
                self.moved.add(apic_id)
                self._later(self._add, apic_id, taker, _TRIES)

        self._ask(giver, CommandKind.REMOVE_CPU, apic_id, gone)

    def _add(self, apic_id: int, taker: int, tries: int) -> None:
        """Its host agent is told first: a taker that dies comes back with it."""
        if self.owners[apic_id] is not None or apic_id in self.open:
            return
        self.owners[apic_id] = taker

        def come(reply: Reply) -> None:
            if self._note(f"apic {apic_id} to i{taker}", reply):
                self._later(self._start, apic_id, taker)
            elif reply.reason != UnavailableError.reason:
                self.owners[apic_id] = None

        if not self._ask(taker, CommandKind.ADD_CPU, apic_id, come):
            self.owners[apic_id] = None
            if tries:
                self._later(self._add, apic_id, taker, tries - 1)

    def _start(self, apic_id: int, taker: int) -> None:
        """INIT and SIPI, by the taker's boot CPU."""
        boot = self._world.nodes[taker].options.apic_ids[0]
        for word in (init_assert(apic_id), startup(apic_id, _START_PAGE)):
            try:
                self._world.hub.bus.write_icr(apic_id=boot, word=word, count=1, on_done=_ignore)
            except MkrpcError as error:
                self._world.note(f"apic {apic_id} is not started: {error.reason}")

    def _ask(
        self, instance_id: int, kind: CommandKind, apic_id: int, on_reply: Callable[[Reply], None]
    ) -> bool:
        def replied(reply: Reply) -> None:
            self.open.discard(apic_id)
            on_reply(reply)

        try:
            self._world.hub.bus.command(instance_id, kind=kind, word=apic_id, on_reply=replied)
        except MkrpcError as error:
            self._world.note(f"apic {apic_id}: {kind.name} refused: {error.reason}")
            self._world.faults["move refused"] += 1
            return False
        self.open.add(apic_id)
        return True

    def _note(self, what: str, reply: Reply) -> bool:
        """Whether it was done."""
        self._world.note(f"{what}: {reply.reason or 'done'}")
        self._world.faults["move refused" if reply.error else "move of a cpu"] += 1
        return not reply.error

    def _later(self, action: Callable[..., None], *arguments: object) -> None:
        world = self._world
        when_us = world.now_us + self._rng.randrange(1, _LATER_US)
        if when_us < world.options.busy_us:
            world.at(when_us, lambda: world.hub.turn(action, *arguments))


def _ignore(tally: Tally) -> None:
    """The books have it."""
