"""An instance that journals its inputs; without it kernel and attachment are the plain classes.

The calls of its :class:`Attachment` are all that happens to a kernel after its boot; beside them
it reads a clock, and its programs read memory that others write. What a program gets from anywhere
else, such as a random number, is in no journal.
"""

from collections.abc import Callable, Sequence
from typing import Any

from mkrpc.errors import MkrpcError, TopologyError
from mkrpc.frame_codec import encode_down
from mkrpc.instance.accounting import whole_account
from mkrpc.instance.attachment import Attachment
from mkrpc.instance.config import KernelConfig
from mkrpc.instance.kernel import Kernel
from mkrpc.instance.memory import SharedMemory
from mkrpc.instance.programs import load_entry
from mkrpc.journal.calls import pack_number, pack_sent, pack_session, sent_up
from mkrpc.journal.digest import books_digest
from mkrpc.journal.format import record
from mkrpc.journal.recorder import Recorder, Recording, error_text
from mkrpc.journal.values import to_plain
from mkrpc.link.frames import DownFrame, Hello, UpFrame, Welcome

__all__ = [
    "INPUTS",
    "OBJECT",
    "READERS",
    "RecordedAttachment",
    "RecordedMemory",
    "accounts_of",
    "begin_recording",
    "entry_of",
]

OBJECT = "instance"

INPUTS = frozenset(
    {
        "advance",
        "beat_answered",
        "disconnected",
        "hello",
        "next_frame",
        "receive",
        "run",
        "welcome",
    }
)
"""Every public method of an attachment that changes what it, or its kernel, will do or say."""

READERS = frozenset({"deadline_us", "lease_left_us", "lease_since_us", "stalled"})
"""The rest."""


class RecordedAttachment(Attachment):
    """As :class:`Attachment`, with a journal."""

    __slots__ = ("_beat", "_beat_us", "_kinds", "_nothing", "_recorder")

    def __init__(self, kernel: Kernel, recorder: Recorder) -> None:
        super().__init__(kernel)
        self._recorder = recorder
        self._kinds = {name: recorder.kind(name) for name in INPUTS}
        self._nothing = record(self._kinds["next_frame"], pack_sent(0, None))
        # Told again and again: the record of the last time.
        self._beat_us = -1
        self._beat = b""

    def close(self) -> None:
        """The instance has come to its end."""
        self._recorder.close(books_digest(accounts_of(self._kernel)))

    def advance(self, now_us: int) -> None:
        """As :meth:`Attachment.advance`."""
        self._run("advance", pack_number(now_us), super().advance, now_us)

    def beat_answered(self, sent_us: int) -> None:
        """As :meth:`Attachment.beat_answered`."""
        super().beat_answered(sent_us)
        if not self._recorder.busy:
            if sent_us != self._beat_us:
                self._beat_us = sent_us
                self._beat = record(self._kinds["beat_answered"], pack_number(sent_us))
            self._recorder.note(self._beat)

    def disconnected(self, generation: int | None = None) -> None:
        """As :meth:`Attachment.disconnected`."""
        self._run("disconnected", pack_session(0, generation), super().disconnected, generation)

    def welcome(self, welcome: Welcome) -> None:
        """As :meth:`Attachment.welcome`."""
        self._run("welcome", encode_down(welcome), super().welcome, welcome)

    def receive(self, frame: DownFrame, generation: int | None = None) -> None:
        """As :meth:`Attachment.receive`."""
        payload = pack_session(0, generation) + encode_down(frame)
        self._run("receive", payload, super().receive, frame, generation)

    def run(self, budget: int) -> int:
        """As :meth:`Attachment.run`."""
        ran: int = self._run("run", pack_number(budget), super().run, budget)
        return ran

    def hello(self, pid: int) -> Hello:
        """As :meth:`Attachment.hello`."""
        hello: Hello = self._run("hello", pack_number(pid), super().hello, pid)
        self._recorder.tell(repr(hello))
        return hello

    def next_frame(self) -> UpFrame | None:
        """As :meth:`Attachment.next_frame`."""
        try:
            frame = super().next_frame()
        except MkrpcError as error:
            self._note_sent(None)
            self._recorder.tell(error_text(error))
            raise
        except Exception as error:
            self._note_sent(None)
            self._recorder.failed(error)
            raise
        self._note_sent(frame)
        return frame

    def _note_sent(self, frame: UpFrame | None) -> None:
        recorder = self._recorder
        if not recorder.busy:
            line = self._nothing
            if frame is not None:
                line = record(self._kinds["next_frame"], pack_sent(0, sent_up(frame)))
            recorder.note(line)

    def _run(self, name: str, payload: bytes, method: Callable[..., Any], *arguments: Any) -> Any:
        recorder = self._recorder
        if recorder.busy:
            return method(*arguments)
        recorder.begin(self._kinds[name], payload)
        try:
            return method(*arguments)
        except MkrpcError as error:
            recorder.tell(error_text(error))
            raise
        except Exception as error:
            recorder.failed(error)
            raise
        finally:
            recorder.end()


class RecordedMemory(SharedMemory):
    """Shared memory; what is loaded from it is recorded."""

    __slots__ = ("_loaded",)

    def __init__(self, memory: SharedMemory, loaded: Callable[[int], None]) -> None:
        self._size = memory._size
        self._views = memory._views
        self.windows = memory.windows
        self.between_processes = memory.between_processes
        self._loaded = loaded

    def load(self, address: int, size: int) -> int:
        """As :meth:`SharedMemory.load`."""
        value = super().load(address, size)
        self._loaded(value)
        return value


def begin_recording(
    recording: Recording,
    *,
    config: KernelConfig,
    incarnation: bytes,
    memory: SharedMemory | None,
    programs: Sequence[tuple[int, Callable[..., Any]]],
    handlers: Sequence[Callable[..., Any]],
) -> Recorder:
    """The journal of an instance that starts now.

    :raises StartUpError: its file cannot be made.
    """
    return Recorder(
        recording,
        name=f"{OBJECT}-{config.instance_id}-{incarnation.hex()}",
        methods=sorted(INPUTS),
        header={
            "object": OBJECT,
            "instance_id": config.instance_id,
            "name": config.name,
            "incarnation": incarnation.hex(),
            "config": to_plain(config, lambda _value: None),
            "memory_bytes": len(memory) if memory is not None else 0,
            "windows": memory is not None and memory.windows is not None,
            "programs": [[cpu, *entry_of(program)] for cpu, program in programs],
            "handlers": [list(entry_of(handler)) for handler in handlers],
        },
    )


def entry_of(found: Callable[..., Any]) -> tuple[str, bool]:
    """``package.module:name`` of a callable, and whether a replay can find it by that."""
    module = getattr(found, "__module__", None)
    name = getattr(found, "__qualname__", None)
    if module is None or name is None:
        return repr(type(found)), False
    entry = f"{module}:{name}"
    if module == "__main__":
        return entry, False
    try:
        return entry, load_entry(entry) is found
    except TopologyError:
        return entry, False


def accounts_of(kernel: Kernel) -> list[str]:
    """The instance's own books, a line for each CPU, and how it fared."""
    lines = [str(whole_account(cpu)) for cpu in kernel.cpus]
    lines.append(f"log: {kernel.log.written} records, oopses {kernel.oops_count}")
    return [*lines, f"failed: {kernel.failed}"] if kernel.failed else lines
