"""A recorded instance, run again."""

from collections import deque
from collections.abc import Callable
from typing import Any

from mkrpc.errors import TopologyError
from mkrpc.frame_codec import decode_down
from mkrpc.instance.attachment import Attachment
from mkrpc.instance.kernel import Kernel
from mkrpc.instance.memory import SharedMemory
from mkrpc.instance.programs import load_entry
from mkrpc.instance.recording import accounts_of
from mkrpc.journal.calls import (
    Sent,
    sent_up,
    unpack_number,
    unpack_sent,
    unpack_session,
)
from mkrpc.journal.format import Journal, Step
from mkrpc.journal.values import from_plain
from mkrpc.link.frames import DownFrame, Welcome
from mkrpc.replay.describe import frame_line, frame_text
from mkrpc.replay.life import Cause, Life, LifeEndedError, NotReplayableError

__all__ = ["InstanceLife"]


class _Elsewhere:
    """Windows whose other side is not here."""

    def load(self, offset: int, size: int) -> int:
        """Nobody asks: what was loaded then is."""
        raise AssertionError(f"a load of {size} bytes at {offset:#x}")

    def store(self, offset: int, value: int, size: int) -> None:
        """Nobody sees it."""


class _Memory(SharedMemory):
    """Memory from which is loaded what was loaded then, whoever had stored it."""

    __slots__ = ("_loads",)

    def __init__(self, size: int, loads: deque[int], *, windows: bool) -> None:
        super().__init__(bytearray(size), _Elsewhere() if windows else None)
        self._loads = loads
        self.between_processes = True

    def load(self, address: int, size: int) -> int:
        """The value of then."""
        self.check(address, size)
        if not self._loads:
            raise LifeEndedError("a program loads from memory, which it did not then")
        return self._loads.popleft()


class InstanceLife(Life):
    """A kernel and its attachment that are given what they were given then."""

    kernel: Kernel
    attachment: Attachment

    def __init__(self, name: str, journal: Journal) -> None:
        super().__init__(name, journal)
        self.incarnation = bytes.fromhex(journal.header["incarnation"])

    def begin(self, step: Step) -> None:
        """The kernel, booted with the same programs and handlers."""
        header = self.journal.header
        self._clock = deque(step.clock)
        self._loads: deque[int] = deque()
        size = header["memory_bytes"]
        windows = header.get("windows", False)
        config: Any = from_plain(header["config"], lambda _kind, _number: None)
        handlers = [_entry(entry, known) for entry, known in header["handlers"]]
        programs = [(cpu, _entry(entry, known)) for cpu, entry, known in header["programs"]]
        try:
            self.kernel = Kernel(
                config,
                incarnation=self.incarnation,
                now_us=self._now_us,
                memory=_Memory(size, self._loads, windows=windows) if size else None,
            )
            for handler in handlers:
                self.kernel.register_handler(handler)
            for cpu, program in programs:
                self.kernel.start_program(cpu, program)
        except LifeEndedError as error:
            raise NotReplayableError(f"its boot went another way: {error}") from error
        self.attachment = Attachment(self.kernel)

    def feed(self, step: Step) -> None:
        """The clock and the memory of then."""
        self._clock.clear()
        self._clock.extend(step.clock)
        self._loads.clear()
        self._loads.extend(step.loads)

    def left_over(self) -> str:
        """Readings that nobody took."""
        if self._clock:
            return f"the clock was read {len(self._clock)} times more"
        return f"memory was loaded {len(self._loads)} times more" if self._loads else ""

    def books(self) -> list[str]:
        """The accounts of its CPUs."""
        return accounts_of(self.kernel)

    def told_time(self, step: Step) -> int:
        """The instance's clock."""
        return unpack_number(step.payload)

    def _now_us(self) -> int:
        if not self._clock:
            raise LifeEndedError("the kernel reads its clock, which it did not then")
        return self._clock.popleft()

    # Calls.

    def call(self, step: Step) -> str:
        """The same input."""
        attachment = self.attachment
        match step.method:
            case "advance":
                attachment.advance(unpack_number(step.payload))
            case "beat_answered":
                attachment.beat_answered(unpack_number(step.payload))
            case "run":
                return f"ran {attachment.run(unpack_number(step.payload))}"
            case "receive":
                attachment.receive(self._frame(step), unpack_session(step.payload)[1])
            case "next_frame":
                return self._next_frame(step)
            case "hello":
                self.tell(repr(attachment.hello(unpack_number(step.payload))))
            case "welcome":
                attachment.welcome(self._welcome(step))
            case "disconnected":
                attachment.disconnected(unpack_session(step.payload)[1])
            case method:
                raise AssertionError(f"{method} is no input of an attachment")
        return ""

    def _next_frame(self, step: Step) -> str:
        frame = self.attachment.next_frame()
        sent: Sent | None = sent_up(frame) if frame is not None else None
        return self.sent(step, sent, frame)

    def _frame(self, step: Step) -> DownFrame:
        frame = decode_down(unpack_session(step.payload)[3])
        assert isinstance(frame, DownFrame)
        return frame

    def _welcome(self, step: Step) -> Welcome:
        welcome = decode_down(step.payload)
        assert isinstance(welcome, Welcome)
        return welcome

    # Causes and effects.

    def needs(self, step: Step) -> Cause | None:
        """A welcome, or a frame of the interconnect."""
        if step.method == "welcome":
            return Cause("down", self.incarnation, self._welcome(step).generation, 0)
        if step.method != "receive":
            return None
        generation = unpack_session(step.payload)[1]
        at = self.attachment.generation if generation is None else generation
        number = self._frame(step).frame
        return Cause("down", self.incarnation, at, number) if number else None

    def gives(self, step: Step) -> Cause | None:
        """A hello, or a frame to the interconnect."""
        if step.method == "hello":
            return Cause("up", self.incarnation, self.attachment.generation, 0)
        if step.method != "next_frame":
            return None
        sent = unpack_sent(step.payload)[1]
        if sent is None or not sent.frame:
            return None
        return Cause("up", self.incarnation, self.attachment.generation, sent.frame)

    # For a reader.

    def describe(self, step: Step) -> str:
        """The call."""
        match step.method:
            case "advance":
                return f"advance to {unpack_number(step.payload)} us"
            case "beat_answered" | "run" | "hello":
                return f"{step.method} {unpack_number(step.payload)}"
            case "receive":
                return f"receive {frame_line(self._frame(step))}"
            case "welcome":
                return f"welcome {frame_text(self._welcome(step))}"
            case "disconnected":
                return f"disconnected from link {unpack_session(step.payload)[1]}"
            case _:
                return step.method


def _entry(entry: str, known: bool) -> Callable[..., Any]:
    if not known:
        raise NotReplayableError(f"{entry} came from a script and cannot be found by its name")
    try:
        return load_entry(entry)
    except TopologyError as error:
        raise NotReplayableError(str(error)) from error
