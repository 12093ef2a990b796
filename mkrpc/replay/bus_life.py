"""A recorded interconnect, run again."""

import json
from collections.abc import Callable
from operator import attrgetter
from typing import Any

from mkrpc.frame_codec import decode_up
from mkrpc.interconnect.apic_bus import ApicBus
from mkrpc.interconnect.books_text import books_of
from mkrpc.interconnect.recording import CALL_BACKS, answer_text
from mkrpc.interconnect.session import Session
from mkrpc.journal.calls import (
    Sent,
    sent_down,
    unpack_advance,
    unpack_sent,
    unpack_session,
)
from mkrpc.journal.format import Step
from mkrpc.journal.values import from_plain
from mkrpc.link.frames import Hello, UpFrame
from mkrpc.replay.describe import frame_line, frame_text
from mkrpc.replay.life import Cause, Life

__all__ = ["BusLife"]


class BusLife(Life):
    """An :class:`ApicBus` that is given what it was given then. ``bus``: as it is now."""

    bus: ApicBus

    def begin(self, step: Step) -> None:
        """The bus, of what it was made of."""
        arguments = self.journal.header["arguments"]
        self.bus = ApicBus(
            **{key: from_plain(value, self._resolve) for key, value in arguments.items()}
        )
        self._sessions: list[Session] = []
        self._requests: dict[int, Any] = {}
        self._last_request = 0
        self._decoded: tuple[int, UpFrame] | None = None

    def feed(self, step: Step) -> None:
        """It reads no clock."""

    def left_over(self) -> str:
        """As above."""
        return ""

    def books(self) -> list[str]:
        """Ledger, mirror, discrepancies."""
        return books_of(self.bus)

    def told_time(self, step: Step) -> int:
        """The interconnect's clock."""
        return unpack_advance(step.payload)[0]

    # Calls.

    def call(self, step: Step) -> str:
        """The same input."""
        match step.method:
            case "advance":
                self.bus.advance(*unpack_advance(step.payload))
            case "hear":
                session, generation, beat, _ = unpack_session(step.payload)
                assert generation is not None
                self.bus.hear(self._session(session), beat, generation)
            case "receive":
                session, generation, _, _ = unpack_session(step.payload)
                self.bus.receive(self._session(session), self._frame(step), generation)
            case "next_frame":
                return self._next_frame(step)
            case "attach":
                self._attach(step)
            case "welcome":
                session = unpack_session(step.payload)[0]
                self.tell(repr(self.bus.welcome(self._session(session))))
            case "balance":
                self.tell(f"balance: {self.bus.balance()}")
            case _:
                self._rare(step)
        return ""

    def _attach(self, step: Step) -> None:
        hello = decode_up(step.payload)
        assert isinstance(hello, Hello)
        session = self.bus.attach(hello)
        if session not in self._sessions:
            self._sessions.append(session)

    def _next_frame(self, step: Step) -> str:
        frame = self.bus.next_frame(self._session(unpack_sent(step.payload)[0]))
        sent: Sent | None = sent_down(frame) if frame is not None else None
        return self.sent(step, sent, frame)

    def _rare(self, step: Step) -> None:
        arguments = self._arguments(step)
        if step.method == "abandon" and arguments["request"] is None:
            return  # What was answered before its call returned has no number; the bus ignored it.
        asked = [key for key in CALL_BACKS if key in arguments]
        if asked:
            self._last_request += 1
            for key in asked:
                arguments[key] = self._call_back(self._last_request)
        given = attrgetter(step.method)(self.bus)(**arguments)
        if asked:
            self._requests[self._last_request] = given

    def _call_back(self, number: int) -> Callable[[Any], None]:
        def answered(answer: Any) -> None:
            self.tell(f"request {number}: {answer_text(answer)}")

        return answered

    def _arguments(self, step: Step) -> dict[str, Any]:
        plain = json.loads(step.payload)
        return {key: from_plain(value, self._resolve) for key, value in plain.items()}

    def incarnation_of(self, session: int) -> bytes:
        """Whose session it is, by its number in the journal."""
        return self._session(session).hello.incarnation

    def _resolve(self, kind: str, number: int) -> Any:
        if kind == "session":
            return self._session(number)
        if kind == "fault":
            return self.bus.faults.find(number)
        return self._requests.get(number) if kind == "request" else None

    def _session(self, number: int) -> Session:
        return self._sessions[number]

    def _frame(self, step: Step) -> UpFrame:
        if self._decoded is None or self._decoded[0] != step.number:
            frame = decode_up(unpack_session(step.payload)[3])
            assert isinstance(frame, UpFrame)
            self._decoded = step.number, frame
        return self._decoded[1]

    # Causes and effects.

    def needs(self, step: Step) -> Cause | None:
        """A hello, or a frame of an instance."""
        if step.method == "attach":
            hello = decode_up(step.payload)
            assert isinstance(hello, Hello)
            return Cause("up", hello.incarnation, hello.generation + 1, 0)
        if step.method != "receive":
            return None
        number, generation, _, _ = unpack_session(step.payload)
        session, frame = self._session(number), self._frame(step)
        at = session.generation if generation is None else generation
        return Cause("up", session.hello.incarnation, at, frame.frame) if frame.frame else None

    def gives(self, step: Step) -> Cause | None:
        """A welcome, or a frame to an instance."""
        if step.method == "welcome":
            session = self._session(unpack_session(step.payload)[0])
            return Cause("down", session.hello.incarnation, session.generation, 0)
        if step.method != "next_frame":
            return None
        number, sent = unpack_sent(step.payload)
        session = self._session(number)
        if sent is None or not sent.frame:
            return None
        return Cause("down", session.hello.incarnation, session.generation, sent.frame)

    # For a reader.

    def describe(self, step: Step) -> str:
        """The call and who it is about."""
        match step.method:
            case "advance":
                now_us, beats = unpack_advance(step.payload)
                heard = f", {len(beats)} beats" if beats else ""
                return f"advance to {now_us} us{heard}"
            case "hear":
                session, generation, beat, _ = unpack_session(step.payload)
                return f"hear {self._name(session)} beat {beat} over link {generation}"
            case "receive":
                session = unpack_session(step.payload)[0]
                return f"receive from {self._name(session)} {frame_line(self._frame(step))}"
            case "next_frame":
                session, sent = unpack_sent(step.payload)
                return f"next_frame for {self._name(session)}: {sent or 'nothing'}"
            case "attach":
                return f"attach {frame_text(decode_up(step.payload))}"
            case "welcome":
                return f"welcome {self._name(unpack_session(step.payload)[0])}"
            case "balance":
                return "balance"
            case _:
                return f"{step.method} {frame_text(self._arguments(step))}"

    def _name(self, number: int) -> str:
        if number >= len(self._sessions):
            return f"session {number}"
        hello = self._sessions[number].hello
        return hello.name or f"instance {hello.instance_id}"
