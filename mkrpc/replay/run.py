"""Replays a recording: every life on its own, in an order in which causes precede effects."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from pathlib import Path

from mkrpc.journal.format import Step
from mkrpc.replay.counterpart import explain
from mkrpc.replay.folder import choose, open_folder
from mkrpc.replay.life import Cause, Life

__all__ = ["Replay", "replay"]

Look = Callable[[int, Life, Step, str, str], None]
"""Called with each step before the next one: its number in the story, whose it is, the step, the
call in words, and what it gave."""


@dataclass(frozen=True, slots=True)
class Replay:
    """What came of a replay. ``unread``: journals that could not be read, a line each."""

    lives: Sequence[Life]
    unread: Sequence[str]
    steps: int

    @property
    def identical(self) -> bool:
        """Every life that can be replayed went as it did then, and every journal could be read."""
        return not self.unread and all(life.identical for life in self.lives)


def replay(
    folder: Path, *, chosen: str = "", until: int | None = None, look: Look | None = None
) -> Replay:
    """Run a recording again, to its end or for ``until`` steps.

    ``chosen``: only one object, or one life of it. ``look`` sees every step.

    :raises NotFoundError: no such folder or object.
    :raises InvalidArgumentError: a folder without journals.
    """
    lives, unread = open_folder(folder)
    found = choose(lives, chosen) if lives or not unread else []
    steps = _Story(found, look).run(until)
    for life in found:
        life.fields = explain(life, lives)
    return Replay(found, unread, steps)


class _Story:
    """One order of all steps: each after what it was told by another, else by the time told."""

    def __init__(self, lives: Sequence[Life], look: Look | None) -> None:
        self._lives = lives
        self._look = look
        self._ready: list[tuple[int, int]] = []
        self._waiting: dict[int, Cause] = {}
        self._given: dict[tuple[str, bytes, int], int] = {}
        self._steps = 0

    def run(self, until: int | None) -> int:
        """Until all is over, or for so many steps; how many were run."""
        for index, life in enumerate(self._lives):
            life.start()
            self._queue(index)
        while self._ready or self._waiting:
            if until is not None and self._steps >= until:
                break
            if not self._ready:
                # What they wait for was not recorded, or is not replayed: time alone decides.
                index = min(self._waiting, key=lambda each: (self._lives[each].time_us, each))
                del self._waiting[index]
            else:
                _, index = heappop(self._ready)
            self._play(index)
        return self._steps

    def _play(self, index: int) -> None:
        life = self._lives[index]
        step = life.next
        assert step is not None
        self._steps += 1
        words = life.describe(step) if self._look is not None else ""
        step, gave = life.play()
        if self._look is not None:
            self._look(self._steps, life, step, words, gave)
        cause = life.gives(step) if step.complete and life.difference is None else None
        if cause is not None:
            self._give(cause)
        self._queue(index)

    def _queue(self, index: int) -> None:
        life = self._lives[index]
        if life.next is None:
            return
        need = life.needs(life.next)
        if need is not None and self._given.get(need[:3], -1) < need.number:
            self._waiting[index] = need
        else:
            heappush(self._ready, (life.time_us, index))

    def _give(self, cause: Cause) -> None:
        key = cause[:3]
        self._given[key] = max(cause.number, self._given.get(key, -1))
        for index, need in list(self._waiting.items()):
            if need[:3] == key and need.number <= self._given[key]:
                del self._waiting[index]
                heappush(self._ready, (self._lives[index].time_us, index))
