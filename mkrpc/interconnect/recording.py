"""A bus that journals its inputs; without it the bus is the plain class and pays nothing.

Every call that changes the bus is recorded before it is made, with its arguments; what it tells
its callers, by return, exception or call-back, is recorded after. Inputs that the bus makes itself
inside of another (``advance`` detaches) are no records of their own.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from hashlib import blake2b
from typing import Any

from mkrpc.errors import MkrpcError
from mkrpc.frame_codec import encode_up
from mkrpc.interconnect.apic_bus import ApicBus
from mkrpc.interconnect.asked import Asked
from mkrpc.interconnect.books_text import books_of
from mkrpc.interconnect.faults import ActiveFault
from mkrpc.interconnect.recorded_inputs import INPUTS, OF_PARTS, RARE, READERS
from mkrpc.interconnect.session import Session
from mkrpc.interconnect.singles import Singles, SinglesAnswer
from mkrpc.interconnect.tally import EachOutcome, LegKind, Tally
from mkrpc.journal.calls import pack_advance, pack_sent, pack_session, reply_text, sent_down
from mkrpc.journal.digest import MAX_DIGEST_LINES, books_digest
from mkrpc.journal.format import record
from mkrpc.journal.recorder import Recorder, Recording, error_text
from mkrpc.journal.values import to_plain
from mkrpc.link.frames import DownFrame, Hello, Reply, UpFrame

__all__ = [
    "CALL_BACKS",
    "INPUTS",
    "OBJECT",
    "OF_PARTS",
    "READERS",
    "RecordedBus",
    "answer_text",
    "open_bus",
]

OBJECT = "interconnect"

CALL_BACKS = ("on_done", "on_reply")
"""Arguments that are called with what a replay must tell again."""

BOOKS_EVERY = 4096
"""Calls between two digests of the books, or eight for each of their lines if that is more."""

_CALLS_PER_LINE = 8


class RecordedBus(ApicBus):
    """As :class:`ApicBus`, with a journal."""

    def __init__(self, recording: Recording, *, epoch: int, **arguments: Any) -> None:
        methods = sorted(INPUTS)
        self._numbers: dict[bytes, int] = {}
        self._open: dict[Tally | Singles | Asked, int] = {}
        self._nothing: dict[int, bytes] = {}
        """The records that say that there is nothing to send, by session."""
        self._requests = 0
        self._digest_at = BOOKS_EVERY
        plain = {
            key: to_plain(value, lambda _value: None)
            for key, value in ({"epoch": epoch} | arguments).items()
        }
        self._recorder = recorder = Recorder(
            recording,
            name=f"{OBJECT}-{epoch:016x}",
            methods=methods,
            header={"object": OBJECT, "epoch": epoch, "arguments": plain},
        )
        self._kinds = {name: recorder.kind(name) for name in methods}
        self._encode = {
            name: recorder.generic(getattr(ApicBus, name), self._reference) for name in RARE
        }
        super().__init__(epoch=epoch, **arguments)
        for name in OF_PARTS:
            self._record_part(name)

    def close(self) -> None:
        """The interconnect has come to its end."""
        self._recorder.busy = True
        self._recorder.close(books_digest(books_of(self)))

    # The calls that come often.

    def attach(self, hello: Hello) -> Session:
        """As :meth:`ApicBus.attach`."""
        session: Session = self._run("attach", encode_up(hello), super().attach, hello)
        self._numbers.setdefault(session.hello.incarnation, len(self._numbers))
        return session

    def advance(self, now_us: int, beats: Iterable[bytes] = ()) -> None:
        """As :meth:`ApicBus.advance`."""
        heard = tuple(beats)
        self._run("advance", pack_advance(now_us, heard), super().advance, now_us, heard)

    def hear(self, session: Session, beat: int, generation: int) -> None:
        """As :meth:`ApicBus.hear`."""
        payload = pack_session(self._number(session), generation, beat)
        self._run("hear", payload, super().hear, session, beat, generation)

    def receive(self, session: Session, frame: UpFrame, generation: int | None = None) -> None:
        """As :meth:`ApicBus.receive`."""
        payload = pack_session(self._number(session), generation) + encode_up(frame)
        self._run("receive", payload, super().receive, session, frame, generation)
        if self._recorder.calls >= self._digest_at:
            self._note_books()

    def next_frame(self, session: Session) -> DownFrame | None:
        """As :meth:`ApicBus.next_frame`."""
        try:
            frame = super().next_frame(session)
        except Exception as error:
            if not self._recorder.busy:
                self._recorder.note(self._note_nothing(self._number(session)))
                self._recorder.failed(error)
            raise
        if not self._recorder.busy:
            number = self._number(session)
            if frame is not None:
                line = record(self._kinds["next_frame"], pack_sent(number, sent_down(frame)))
            else:
                line = self._nothing.get(number) or self._note_nothing(number)
            self._recorder.note(line)
        return frame

    def _note_nothing(self, session: int) -> bytes:
        line = record(self._kinds["next_frame"], pack_sent(session, None))
        self._nothing[session] = line
        return line

    def welcome(self, session: Session) -> Any:
        """As :meth:`ApicBus.welcome`."""
        welcome = self._run(
            "welcome", pack_session(self._number(session), None), super().welcome, session
        )
        self._recorder.tell(repr(welcome))
        return welcome

    def balance(self) -> list[str]:
        """As :meth:`ApicBus.balance`, which books what a takeover has left in nobody's books."""
        if self._recorder.busy:
            return super().balance()
        lines: list[str] = self._run("balance", b"", super().balance)
        self._recorder.tell(f"balance: {lines}")
        return lines

    # All calls.

    def _run(
        self, name: str, payload: bytes, method: Callable[..., Any], *arguments: Any, **named: Any
    ) -> Any:
        recorder = self._recorder
        if recorder.busy:
            recorder.nested()
            return method(*arguments, **named)
        recorder.begin(self._kinds[name], payload)
        try:
            return method(*arguments, **named)
        except MkrpcError as error:
            recorder.tell(error_text(error))
            raise
        except Exception as error:
            recorder.failed(error)
            raise
        finally:
            recorder.end()

    def _run_rare(
        self, name: str, method: Callable[..., Any], arguments: tuple[Any, ...], named: Any
    ) -> Any:
        if self._recorder.busy:
            self._recorder.nested()
            return method(*arguments, **named)
        payload = self._encode[name](arguments, named)
        if name == "abandon":
            self._open.pop(arguments[0], None)
        told = {key for key in CALL_BACKS if key in named}
        if not told:
            return self._run(name, payload, method, *arguments, **named)
        self._requests += 1
        number = self._requests
        done: list[bool] = []
        for key in told:
            named[key] = self._telling(number, named[key], done)
        request = self._run(name, payload, method, *arguments, **named)
        if not done:
            self._open[request] = number
        return request

    def _record_part(self, name: str) -> None:
        part, _, method = name.partition(".")
        owner = getattr(self, part)
        plain = getattr(owner, method)
        self._encode[name] = self._recorder.generic(getattr(type(owner), method), self._reference)

        def call(*arguments: Any, **named: Any) -> Any:
            return self._run_rare(name, plain, arguments, named)

        setattr(owner, method, call)

    def _telling(
        self, number: int, call_back: Callable[[Any], None], done: list[bool]
    ) -> Callable[[Any], None]:
        """The call-back, recorded."""

        def tell(answer: Tally | SinglesAnswer | Reply) -> None:
            recorder = self._recorder
            recorder.tell(f"request {number}: {answer_text(answer)}")
            if isinstance(answer, SinglesAnswer):
                if not answer.of.unanswered:
                    done.append(True)
                    self._open.pop(answer.of, None)
            elif isinstance(answer, Tally):
                done.append(True)
                self._open.pop(answer, None)
            else:
                done.append(True)
                self._forget(number)
            recorder.telling = True
            try:
                call_back(answer)
            finally:
                recorder.telling = False

        return tell

    def _forget(self, number: int) -> None:
        for request, known in list(self._open.items()):
            if known == number:
                del self._open[request]

    def _number(self, session: Session) -> int:
        return self._numbers[session.hello.incarnation]

    def _reference(self, value: Any) -> tuple[str, int] | None:
        if isinstance(value, Session):
            return "session", self._number(value)
        if isinstance(value, Tally | Singles | Asked):
            return "request", self._open.get(value, 0)
        if isinstance(value, ActiveFault):
            return "fault", value.number
        return ("call-back", 0) if callable(value) else None

    def _note_books(self) -> None:
        recorder = self._recorder
        if recorder.busy:
            return
        recorder.busy = True  # what the books do to be whole, they do again when they are compared
        lines = books_of(self)
        recorder.busy = False
        self._digest_at = self._recorder.calls + max(BOOKS_EVERY, _CALLS_PER_LINE * len(lines))
        if len(lines) <= MAX_DIGEST_LINES:
            recorder.books(books_digest(lines, whole=False))


def _rare(name: str) -> Callable[..., Any]:
    plain = getattr(ApicBus, name)

    def call(self: RecordedBus, *arguments: Any, **named: Any) -> Any:
        method = plain.__get__(self)
        return self._run_rare(name, method, arguments, named)

    call.__doc__ = f"As :meth:`ApicBus.{name}`."
    call.__name__ = name
    return call


for _name in RARE:
    setattr(RecordedBus, _name, _rare(_name))


@contextmanager
def open_bus(recording: Recording | None, **arguments: Any) -> Iterator[ApicBus]:
    """A bus made of ``arguments``, with a journal if it is to be recorded; closed at the end.

    :raises StartUpError: its journal cannot be made.
    """
    if recording is None:
        yield ApicBus(**arguments)
        return
    bus = RecordedBus(recording, **arguments)
    try:
        yield bus
    finally:
        bus.close()


def answer_text(answer: Tally | SinglesAnswer | Reply) -> str:
    """What a call-back was told, in one line that is the same in every run."""
    if isinstance(answer, Tally):
        return tally_text(answer)
    if isinstance(answer, SinglesAnswer):
        legs, each = legs_text(answer.legs), each_text(answer.each)
        return f"{answer.first} to {answer.last}, legs {legs}{each}"
    return reply_text(answer)


def tally_text(tally: Tally) -> str:
    """What became of a request."""
    error = f", {error_text(tally.error)}" if tally.error is not None else ""
    legs, each = legs_text(tally.legs), each_text(tally.each)
    return f"{tally.written} written, {tally.resolved} resolved, legs {legs}{error}{each}"


def legs_text(legs: Mapping[LegKind, int]) -> str:
    """How many legs ended how."""
    known = sorted(
        (apic_id, -1 if instance is None else instance, outcome.name, count)
        for (apic_id, instance, outcome), count in legs.items()
    )
    return str(known)


def each_text(each: EachOutcome | None) -> str:
    """The outcomes word by word, if they were asked for."""
    if each is None:
        return ""
    told = f"{bytes(each.outcomes).hex()} {each.several}"
    return f", each {blake2b(told.encode(), digest_size=8).hexdigest()}"
