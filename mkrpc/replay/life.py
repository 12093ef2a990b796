"""One recorded life of an object, run again call by call, and how it differs."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from mkrpc.errors import MkrpcError
from mkrpc.journal.calls import Sent, unpack_sent
from mkrpc.journal.digest import books_digest
from mkrpc.journal.format import Journal, Step
from mkrpc.journal.recorder import error_text, text_crc
from mkrpc.replay.describe import frame_text

__all__ = ["Cause", "Difference", "Life", "LifeEndedError", "NotReplayableError"]


class NotReplayableError(Exception):
    """The journal names what cannot be made again here; one line that says what."""


class LifeEndedError(BaseException):
    """The object wants more of its clock or memory than it got then.

    No Exception: a handler of the machine must not catch it.
    """


@dataclass(frozen=True, slots=True)
class Difference:
    """The first step at which a life is not what it was.

    ``method``: the call. ``then``, ``now``: what it gave, in a line each. ``detail``: the frame of
    now, if it is one.
    """

    step: int
    offset: int
    method: str
    then: str
    now: str
    detail: str = ""


class Cause(NamedTuple):
    """What passes from one object to another, with a number that only grows on one link.

    ``kind``: ``up`` or ``down``. ``number``: of the frame, 0 for the hello and the welcome.
    """

    kind: str
    incarnation: bytes
    generation: int
    number: int


class Life(ABC):
    """``name``: as a reader knows it. ``verdict``: empty while it runs, then what came of it.

    ``steps``: how many were run. ``time_us``: the time that it was last told.
    """

    def __init__(self, name: str, journal: Journal) -> None:
        self.name = name
        self.journal = journal
        self.time_us = int(journal.header["began_us"])
        self.steps = 0
        self.difference: Difference | None = None
        self.difference_step: Step | None = None
        self.fields: list[str] = []
        """How the frame that differs does so, as far as the other side's journal tells."""
        self.given: object = None
        """The frame that the last step gave."""
        self.problem = ""
        self.damaged = False
        self.books_lines: int | None = None
        self.books_differ: list[tuple[str, str]] = []
        self.unfinished = ""
        self.over = False
        self._steps: Iterator[Step] = journal.steps()
        self._outputs: list[str] = []
        self.next: Step | None = None

    def start(self) -> None:
        """Make the object. A journal that cannot be replayed leaves a ``problem``."""
        try:
            step = next(self._steps)
            self.begin(step)
            self._go_on(step)
        except (NotReplayableError, MkrpcError) as error:
            self._end(problem=str(error))

    def play(self) -> tuple[Step, str]:
        """Run the next step; the step, and what it gave in a line."""
        step = self.next
        assert step is not None
        if not step.complete:
            # The process died within it, or before anything else was written: it may never return.
            self.unfinished = step.method
            self._end()
            return step, "not known to have returned: not run"
        self.steps += 1
        self._outputs = []
        self.feed(step)
        gave = ""
        try:
            gave = self.call(step)
        except MkrpcError as error:
            self.tell(error_text(error))
        except LifeEndedError as error:
            self.differ(step, "it returned", str(error))
        except Exception as error:  # noqa: BLE001 - a bug of then, or of a changed model
            self.tell(error_text(error))
        if self.difference is None:
            self._compare(step)
        told = "; ".join([gave, *self._outputs] if gave else self._outputs)
        self._go_on(step)
        return step, told

    # What each kind of object does its own way.

    @abstractmethod
    def begin(self, step: Step) -> None:
        """Make the object anew."""

    @abstractmethod
    def feed(self, step: Step) -> None:
        """What it will read of clocks and memory in this step."""

    @abstractmethod
    def call(self, step: Step) -> str:
        """Make the call; what it gave, for a reader."""

    @abstractmethod
    def left_over(self) -> str:
        """What was read then and not now in the step that has just run; empty if nothing."""

    @abstractmethod
    def books(self) -> list[str]:
        """The books as they are now."""

    @abstractmethod
    def needs(self, step: Step) -> Cause | None:
        """What must have been sent before this step."""

    @abstractmethod
    def gives(self, step: Step) -> Cause | None:
        """What this step has just sent."""

    @abstractmethod
    def describe(self, step: Step) -> str:
        """The call with its arguments, for a reader."""

    # For them.

    def tell(self, text: str) -> None:
        """The object has told somebody something."""
        self._outputs.append(text)

    def sent(self, step: Step, now: Sent | None, frame: object) -> str:
        """Compare a frame that was given with that of then."""
        then = unpack_sent(step.payload)[1]
        self.given = frame
        text = frame_text(frame) if frame is not None else ""
        if then != now:
            nothing = "nothing to send"
            self.differ(step, str(then or nothing), str(now or nothing), text)
        return text

    def differ(self, step: Step, then: str, now: str, detail: str = "") -> None:
        """Note the first difference."""
        if self.difference is None:
            self.difference = Difference(step.number, step.offset, step.method, then, now, detail)
            self.difference_step = step

    def _compare(self, step: Step) -> None:
        for index, text in enumerate(self._outputs):
            then = step.outputs[index] if index < len(step.outputs) else None
            if then is None or then.crc != text_crc(text):
                self.differ(step, then.text if then is not None else "nothing", text)
                return
        if len(self._outputs) < len(step.outputs):
            self.differ(step, step.outputs[len(self._outputs)].text, "nothing")
        elif left := self.left_over():
            self.differ(step, left, "not now")
        elif step.books is not None:
            self._compare_books(step.books)

    def _compare_books(self, then: dict[str, Any]) -> None:
        lines = self.books()
        self.books_lines = len(lines)
        if books_digest(lines, whole=False)["crc"] == then["crc"]:
            return
        before = set(then.get("text", ()))
        gone, come = sorted(before - set(lines)), sorted(set(lines) - before)
        length = max(len(gone), len(come))
        pad = [""] * length
        kept = "text" in then
        pairs = list(zip((gone + pad)[:length], (come + pad)[:length], strict=True))
        self.books_differ = pairs if kept else [(f"{then['lines']} lines", f"{len(lines)} lines")]

    def _go_on(self, step: Step) -> None:
        """Take up the next step, unless this was the last or the life went another way."""
        if self.difference is not None or self.books_differ:
            self._end()
            return
        try:
            self.next = next(self._steps, None)
        except MkrpcError as error:
            self.damaged = True
            self._end(problem=str(error))
            return
        if self.next is None:
            if self.journal.end is not None:
                self._compare_books(self.journal.end)
            self._end()
        elif self.next.method == "advance":
            self.time_us = self.told_time(self.next)

    @abstractmethod
    def told_time(self, step: Step) -> int:
        """The time that an ``advance`` tells."""

    def _end(self, problem: str = "") -> None:
        self.problem = problem
        self.over = True
        self.next = None

    @property
    def identical(self) -> bool:
        """Nothing that was compared has differed, and nothing was damaged."""
        return self.difference is None and not self.books_differ and not self.damaged

    @property
    def verdict(self) -> str:
        """What came of it, in a line."""
        if self.problem:
            return f"not replayed{' further' if self.steps else ''}: {self.problem}"
        if self.difference is not None:
            return f"differs at step {self.difference.step}"
        if self.books_differ:
            return f"its books differ after step {self.steps}"
        parts = ["identical"]
        if self.journal.end is not None:
            parts.append(f"books identical ({self.books_lines} lines)")
        elif self.journal.stopped:
            parts.append(f"recorded until {self.journal.stopped}")
        elif self.over:
            parts.append("killed")
        if self.journal.torn:
            parts.append(f"{self.journal.torn} bytes of a record that is not whole")
        if self.unfinished:
            parts.append(f"its last step, {self.unfinished}, not known to have returned")
        return ", ".join(parts)
