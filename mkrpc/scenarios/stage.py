"""Where a scenario is played: real kernels on a real bus in one thread, in the seed's order.

At every tick the seed chooses: one kernel executes one instruction, or (one tick in ``link_every``
on the average) the links move what is ready. Nothing else is left to chance but what the scenario
draws itself. Every choice and every line told goes into a digest, so that equal digests are equal
runs.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from mkrpc.instance.kernel import KernelConfig
from mkrpc.instance.memory import SharedMemory
from mkrpc.interconnect.policy import Policy
from mkrpc.simulation.machine import Machine
from mkrpc.trace import IcrWritten, InstanceAttached, InstanceDetached, LegEnded, TraceEvent

__all__ = ["MAX_TICKS", "Chance", "Stage"]

MAX_TICKS = 200_000
"""Ticks of one run; a machine that still moves then counts as broken."""

_LINKS = 0xFFFF
"""The choice of the links in the digest; instance ids are below."""


class Chance(Protocol):
    """What a run draws from."""

    def randrange(self, stop: int, /) -> int:
        """0 to ``stop`` - 1."""


class Stage:
    """One run. ``settings``: the value of each switch. ``tell`` is given every line of the run.

    ``machine`` is there after :meth:`set_up`; ``ticks`` counts choices. ``link_every``, 2 or more:
    one tick in so many moves the links; the later doorbells come, the more of them merge.
    ``broken``: what must hold in any scenario and did not, a line each.
    """

    machine: Machine

    def __init__(
        self,
        chance: Chance,
        settings: Mapping[str, str],
        *,
        tell: Callable[[str], None] | None = None,
    ) -> None:
        self._chance = chance
        self.settings = dict(settings)
        self.ticks = 0
        self.link_every = 6
        self.broken: list[str] = []
        self._tell = tell
        self._digest = hashlib.blake2b(digest_size=16)
        self._names: dict[bytes, str] = {}
        self._doomed: dict[int, int] = {}

    def draw(self, stop: int) -> int:
        """A number from 0 to ``stop`` - 1, by chance."""
        return self._chance.randrange(stop)

    def choose(self, switch: str) -> str:
        """The value of a switch."""
        return self.settings[switch]

    def tell(self, text: str) -> None:
        """A line of the run."""
        line = f"{self.ticks} {text}"
        self._digest.update(line.encode())
        if self._tell is not None:
            self._tell(line)

    @property
    def digest(self) -> str:
        """Of all choices and lines so far."""
        return self._digest.hexdigest()

    def set_up(
        self,
        configs: Sequence[KernelConfig],
        *,
        policy: str = "bare-metal",
        memory_bytes: int = 4096,
    ) -> Machine:
        """Boot these kernels. ``policy``: of the interconnect, by its name."""
        self.machine = Machine(
            configs,
            policy=Policy.named(policy),
            memory=SharedMemory(bytearray(max(8, memory_bytes + 7 & ~7))),
        )
        for kernel in self.machine.kernels.values():
            self._names[kernel.incarnation] = kernel.config.name
        self.machine.bus.watch(self._trace)
        return self.machine

    def crash_after(self, instance: int, steps: int) -> None:
        """An instance vanishes, kill -9, at the end of its ``steps``-th turn from now (from 1)."""
        assert steps > 0, steps
        self._doomed[instance] = steps

    def go_on(self, *, at_most: int = MAX_TICKS, until: Callable[[], bool] | None = None) -> bool:
        """Let the seed choose until nothing moves, or ``until`` holds, or for ``at_most`` ticks.

        Whether it came to rest. At MAX_TICKS of one run it ends, and the run is ``broken``.
        """
        machine, draw = self.machine, self._chance.randrange
        end = self.ticks + at_most
        while until is None or not until():
            if self.ticks >= end and at_most < MAX_TICKS:
                return False
            if self.ticks >= MAX_TICKS:
                self.broken.append(f"the machine does not come to rest in {MAX_TICKS} ticks")
                return False
            ready = [item for item in machine.kernels.items() if item[1].runnable]
            if not ready or not draw(self.link_every):
                if not machine.exchange() and not ready:
                    return True
                self._count(_LINKS)
                continue
            number, kernel = ready[draw(len(ready))]
            self._count(number)
            kernel.advance(1)
            self._approach_death(number)
        return False

    def _count(self, choice: int) -> None:
        self.ticks += 1
        self._digest.update(choice.to_bytes(2, "little"))

    def _approach_death(self, number: int) -> None:
        if number not in self._doomed:
            return
        self._doomed[number] -= 1
        if not self._doomed[number]:
            del self._doomed[number]
            self.tell(f"mk{number} is killed")
            self.machine.crash(number)

    def _trace(self, event: TraceEvent) -> None:
        match event:
            case InstanceAttached():
                self._names[event.incarnation] = event.name
                self.tell(f"{event.name} is attached")
            case InstanceDetached():
                self.tell(f"{event.name} is detached: {event.reason}")
            case IcrWritten():
                who = self._names.get(event.source, "?")
                self.tell(f"{who} apic {event.apic_id} writes {event.word:#x} x {event.count}")
            case LegEnded():
                who = self._names.get(event.source, "?")
                text = event.outcome.text
                self.tell(f"{who} to apic {event.apic_id:#x}: {text} x {event.count}")
            case _:
                pass
