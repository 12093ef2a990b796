"""What clients ask of a simulated machine, step by step, and whether they had their answers."""

from collections import Counter
from typing import TYPE_CHECKING

from mkrpc.errors import MkrpcError
from mkrpc.interconnect.asked import Asked
from mkrpc.interconnect.tally import Tally
from mkrpc.link.frames import CommandKind, Reply
from mkrpc.simulation.events import Answered, Called
from mkrpc.simulation.hub import Hub
from mkrpc.simulation.plan import Step
from mkrpc.simulation.workload import program_of

if TYPE_CHECKING:
    from mkrpc.simulation.world import World

__all__ = ["Requests"]


_PATIENT = 0.7
"""Of the calls that an interconnect has left without an answer, this share is made again."""


class Requests:
    """Carries out steps. ``open``: the numbers of those that wait for an answer."""

    def __init__(self, world: "World", steps: tuple[Step, ...]) -> None:
        self._world = world
        self._steps = {step.number: step for step in steps}
        self._rng = world.rng_of("clients")
        self.open: dict[int, Tally | Asked | None] = {}
        # Of each call, to which interconnect it was made first, and what its client knew of the
        # roster then: the latest that an answer had told it.
        self._made: dict[tuple[int, int], tuple[Hub, int]] = {}
        self._told: Counter[int] = Counter()
        # What is left to be made or answered of each call, over all its repetitions: a client says
        # that a call is resolved only when it will not repeat it.
        self._left: Counter[tuple[int, int]] = Counter(
            (step.client, step.first_seq) for step in steps if step.first_seq
        )

    def perform(self, step: Step) -> None:
        """Carry out a step; what the machine refuses by name is counted and that is all."""
        world = self._world
        world.note(str(step))
        if step.kind == "program":
            life = world.nodes[step.instance_id].life
            if life is not None:
                life.turn(self._start, step)
            return
        self.open[step.number] = None
        self._ask_the_hub(step)

    def hub_died(self) -> None:
        """Whoever waits is told that the interconnect is not there any more."""
        for number in list(self.open):
            self.open[number] = None
            self._unavailable(self._steps[number])

    def _unavailable(self, step: Step) -> None:
        """A client may make a call again, since it happens once; nobody repeats anything else."""
        world, rng = self._world, self._rng
        if step.first_seq and rng.random() < _PATIENT:
            later_us = world.now_us + rng.randrange(1, world.options.notice_us + 1)
            world.at(later_us, self._ask_the_hub, step)
        else:
            world.note(f"s{step.number} is given up")
            self._close(step)

    def _ask_the_hub(self, step: Step) -> None:
        hub = self._world.hub
        if step.number not in self.open:
            return  # given up meanwhile
        if hub.over:
            self._unavailable(step)
            return
        if step.first_seq:
            told = self._told[step.client]
            self._made.setdefault((step.client, step.first_seq), (hub, told))
        hub.turn(self._ask, step)

    def _ask(self, step: Step) -> None:
        try:
            request = self._request(step)
        except MkrpcError as error:
            self._world.note(f"s{step.number} refused: {error.reason}")
            self._world.faults["refused request"] += 1
            self._close(step)
            return
        if step.number in self.open:
            self.open[step.number] = request

    def _request(self, step: Step) -> Tally | Asked | None:
        bus = self._world.hub.bus
        apic_id = self._world.nodes[step.instance_id].options.apic_ids[step.cpu]
        match step.kind:
            case "ring":
                return bus.write_icr(
                    apic_id=apic_id,
                    word=step.word,
                    count=step.count,
                    on_done=lambda _tally: self._close(step),
                )
            case "inject" | "repeat":
                made_to, told = self._made[step.client, step.first_seq]
                again = made_to is not self._world.hub
                client_id = self._world.clients[step.client]
                words = [step.word] * step.count
                self._world.show(Called(bus, client_id, step.first_seq, words, again))
                return bus.inject(
                    roster=told,
                    again=again,
                    client_id=client_id,
                    first_seq=step.first_seq,
                    word=step.word,
                    count=step.count,
                    resolved_below=self._resolved_below(step),
                    on_done=lambda tally: self._answered(step, tally),
                )
            case "abandon":
                waiting = self.open.pop(step.of, None)
                if waiting is not None:
                    bus.abandon(waiting)
                self._close(step)
                return None
            case _:
                setting = step.kind == "set-cpu"
                return bus.command(
                    step.instance_id,
                    kind=CommandKind.SET_CPU if setting else CommandKind.READ_ACCOUNT,
                    cpu=step.cpu if setting else 0,
                    action=step.action,
                    on_reply=lambda reply: self._replied(step, reply),
                )

    def _start(self, step: Step) -> None:
        life = self._world.nodes[step.instance_id].life
        assert life is not None
        try:
            life.kernel.start_program(step.cpu, program_of(step.instructions))
        except MkrpcError as error:
            self._world.note(f"s{step.number} refused: {error.reason}")

    def _replied(self, step: Step, reply: Reply) -> None:
        self._world.note(f"s{step.number} replied {reply.reason or 'done'}")
        self._close(step)

    def _answered(self, step: Step, tally: Tally) -> None:
        world = self._world
        client = world.clients[step.client]
        self._told[step.client] = world.hub.bus.roster_number
        world.show(Answered(world.hub.bus, client, step.first_seq, step.count, tally))
        self._close(step)

    def _close(self, step: Step) -> None:
        self.open.pop(step.number, None)
        if step.first_seq:
            self._left[step.client, step.first_seq] -= 1

    def _resolved_below(self, step: Step) -> int:
        """The number of the client's oldest call that it may still repeat or has no answer to."""
        left = self._left.items()
        open_calls = (first for (client, first), count in left if client == step.client and count)
        return min(open_calls, default=step.first_seq)
