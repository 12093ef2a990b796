"""What happens in a run and when: its steps and its faults, drawn in advance from its options.

Both are plain numbered lists, so that a run can be replayed without some of them.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from mkrpc.fault import Fault as InjectedFault
from mkrpc.fault import FaultKind as InjectedKind
from mkrpc.instance.instructions import Instruction
from mkrpc.simulation.options import FAULT_KINDS, FaultKind, InstanceOptions, Options, RngSource
from mkrpc.simulation.workload import Words, draw_program, is_broadcast
from mkrpc.x86.icr import fixed
from mkrpc.x86.irq_vectors import MULTIKERNEL_VECTOR

__all__ = ["Fault", "Plan", "Step", "StepKind"]

StepKind = Literal[
    "ring",
    "inject",
    "repeat",
    "set-cpu",
    "program",
    "ask",
    "abandon",
    "move",
    "send",
    "hang-up",
    "close",
    "limit",
]

_STEP_KINDS: tuple[StepKind, ...] = (
    *(("ring",) * 8),
    *(("inject",) * 6),
    *(("program",) * 3),
    *(("set-cpu",) * 3),
    "ask",
    "abandon",
)
_REPEATED = 0.4
_BROADCASTS = 40
"""Equal broadcasts in a row at most: each has a leg to every CPU."""
_SHOWN = 40
"""Words of a request that its line has."""
_ACTIONS = ("if=0", "if=1", "if=1", "if=1 hlt=1", "hlt=1", "hlt=0", "tpr=0", "tpr=0x40", "tpr=0xf0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault at ``at_us``; the kinds are those of :data:`FAULT_KINDS`.

    ``for_us``: how long it lasts; ``upward``: the direction of a stall; ``whole``: a cut or a crash
    that takes with it what is on its way, a crash of the interconnect that takes the instance with
    it; ``upward``, of the latter: the next one crashes too, soon after it has begun.
    ``injected``: what a drop swallows.
    """

    number: int
    at_us: int
    kind: FaultKind
    instance_id: int
    for_us: int
    upward: bool
    whole: bool
    injected: InjectedFault | None = None

    def __str__(self) -> str:
        if self.injected is not None:
            return f"f{self.number} {self.injected} for {self.for_us} us"
        way = f" {'up' if self.upward else 'down'}" if self.kind == "stall" else ""
        whole = "" if self.whole else ", what is on its way arrives"
        return f"f{self.number} {self.kind}{way} i{self.instance_id} for {self.for_us} us{whole}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing that the workload does at ``at_us``.

    ``ring``: a CPU is asked to write ``word`` ``count`` times. ``inject``: client ``client`` makes
    a call with numbers from ``first_seq``; ``repeat``: the same call again. ``set-cpu``:
    ``action``. ``program``: ``instructions`` start on a CPU. ``ask``: an instance is asked for its
    account. ``abandon``: whoever waits for the answer to step ``of`` goes away. ``move``: the CPU
    with APIC id ``word`` is to leave whoever has it and to come to the instance. ``send``: caller
    ``client`` sends ``requests`` over its stream, each of some words; ``each``: it asks for the
    outcome of every word. ``hang-up``: its stream breaks; ``close``: it ends it.
    ``limit``: clients may make ``count`` writes a second together; 0: as many as they like.
    """

    number: int
    at_us: int
    kind: StepKind
    instance_id: int = 0
    cpu: int = 0
    word: int = 0
    count: int = 1
    client: int = 0
    first_seq: int = 0
    action: str = ""
    instructions: tuple[Instruction, ...] = ()
    of: int = 0
    requests: tuple[tuple[int, ...], ...] = ()
    each: bool = False

    def __str__(self) -> str:
        where = f"i{self.instance_id} cpu {self.cpu}"
        match self.kind:
            case "inject" | "repeat":
                what = f"c{self.client} {self.first_seq}+{self.count} {self.word:#x}"
            case "ring":
                what = f"{where} {self.count} times {self.word:#x}"
            case "program":
                what = f"{where}: {'; '.join(map(str, self.instructions))}"
            case "abandon":
                what = f"the answer to s{self.of}"
            case "move":
                what = f"apic {self.word} to i{self.instance_id}"
            case "send":
                of = "each of " if self.each else ""
                what = f"k{self.client} {of}{', '.join(map(_hexes, self.requests))}"
            case "limit":
                what = f"{self.count} writes a second"
            case "hang-up" | "close":
                what = f"k{self.client}"
            case _:
                what = f"{where} {self.action}".rstrip()
        return f"s{self.number} {self.kind} {what}"


@dataclass(frozen=True, slots=True)
class Plan:
    """A run's steps and faults, both numbered from 1 and in no order of time."""

    steps: tuple[Step, ...]
    faults: tuple[Fault, ...]

    @classmethod
    def draw(cls, options: Options, rng_of: RngSource) -> "Plan":
        """The plan of a run, from its streams ``faults``, ``drops`` and ``steps``."""
        faults = tuple(_faults(options, rng_of))
        drops = tuple(_drops(options, rng_of, len(faults)))
        return cls(tuple(_steps(options, rng_of)), faults + drops)

    @property
    def last_step(self) -> int:
        """The highest number of a step, 0 if there is none."""
        return max((step.number for step in self.steps), default=0)

    def with_steps(self, more: Iterable[Step]) -> "Plan":
        """With more of them besides."""
        return Plan((*self.steps, *more), self.faults)


def _faults(options: Options, rng_of: RngSource) -> Iterator[Fault]:
    rng = rng_of("faults")
    # A few of them, so that often several faults meet in one instance.
    victims = [rng.choice(options.instances).instance_id for _ in range(rng.randrange(1, 4))]
    number = 0
    for kind in FAULT_KINDS:
        for _ in range(dict(options.faults)[kind]):
            number += 1
            at_us = rng.randrange(0, options.busy_us)
            longest = int(options.lease_us * rng.choice((0.1, 0.6, 3.0)))
            yield Fault(
                number=number,
                at_us=at_us,
                kind=kind,
                instance_id=rng.choice(victims),
                for_us=min(rng.randrange(1, longest), options.busy_us - at_us),
                upward=rng.random() < 0.5,
                whole=rng.random() < 0.5,
            )


def _drops(options: Options, rng_of: RngSource, number: int) -> Iterator[Fault]:
    """Faults that swallow IPIs, numbered after the others, from a stream of their own."""
    rng = rng_of("drops")
    ids = [each.instance_id for each in options.instances]
    for _ in range(options.drops):
        number += 1
        at_us = rng.randrange(0, options.busy_us)
        for_us = min(rng.randrange(1, 3 * options.lease_us), options.busy_us - at_us)
        every = rng.choice((0, 0, 1, 2, 7))
        injected = InjectedFault(
            kind=InjectedKind.DROP,
            for_us=for_us,
            source=rng.choice((None, None, rng.choice(ids))),
            destination=rng.choice((None, rng.choice(ids))),
            vector=rng.choice((None, None, MULTIKERNEL_VECTOR)),
            every=every,
            share=1.0 if every else rng.choice((0.1, 0.5)),
            limit=rng.choice((0, 0, 1, 10)),
            seed=rng.randrange(0, 1 << 32),
        )
        yield Fault(
            number=number,
            at_us=at_us,
            kind="drop",
            instance_id=options.instances[0].instance_id,
            for_us=for_us,
            upward=False,
            whole=False,
            injected=injected,
        )


def _steps(options: Options, rng_of: RngSource) -> Iterator[Step]:
    rng = rng_of("steps")
    words = Words(rng, options)
    numbers = [1] * options.clients
    number = 0
    for _ in range(options.steps):
        number += 1
        kind = rng.choice(_STEP_KINDS)
        where: InstanceOptions = rng.choice(options.instances)
        word = words.external() if kind == "inject" else words.draw()
        count = rng.choice(options.bursts) if kind in ("inject", "ring") else 1
        step = Step(
            number=number,
            at_us=rng.randrange(0, options.busy_us),
            kind=kind,
            instance_id=where.instance_id,
            cpu=rng.randrange(0, len(where.apic_ids)),
            word=word,
            count=min(count, _BROADCASTS) if is_broadcast(word) else count,
            client=rng.randrange(0, options.clients),
            action=rng.choice(_ACTIONS) if kind == "set-cpu" else "",
            instructions=draw_program(rng, words, where) if kind == "program" else (),
            of=rng.randrange(1, number + 1),
        )
        if kind != "inject":
            yield step
            continue
        first_seq = numbers[step.client]
        numbers[step.client] += step.count
        call = _call(step, first_seq)
        yield call
        while rng.random() < _REPEATED:
            number += 1
            again_us = rng.randrange(call.at_us, options.busy_us)
            yield _call(step, first_seq, number=number, at_us=again_us, kind="repeat")
    ids = [apic_id for each in options.instances for apic_id in each.apic_ids]
    for tick in range(options.busy_us // options.tick_us if options.tick_us else 0):
        number += 1
        yield Step(
            number=number,
            at_us=tick * options.tick_us,
            kind="inject",
            word=fixed(rng.choice(ids), MULTIKERNEL_VECTOR),
            first_seq=numbers[0],
        )
        numbers[0] += 1


def _hexes(words: tuple[int, ...]) -> str:
    more = f" and {len(words) - _SHOWN} more" if len(words) > _SHOWN else ""
    return " ".join(f"{word:#x}" for word in words[:_SHOWN]) + more


def _call(
    step: Step,
    first_seq: int,
    *,
    number: int | None = None,
    at_us: int | None = None,
    kind: StepKind = "inject",
) -> Step:
    return Step(
        number=step.number if number is None else number,
        at_us=step.at_us if at_us is None else at_us,
        kind=kind,
        word=step.word,
        count=step.count,
        client=step.client,
        first_seq=first_seq,
    )
