"""The gRPC driver of one kernel instance: pumps frames between its link and its kernel.

No rule of the design lives here (section 4): what to send, what to answer, what to remember and
when to stop is decided by :class:`Kernel` and :class:`Attachment`. This file owns the event loop,
the clock, the signals, the streams one after another, and the end of the process.
"""

import asyncio
import os
import signal
import time
from typing import Any

import structlog

from mkrpc.compiled.finder import state
from mkrpc.errors import (
    DeadlineExceededError,
    FencedError,
    MkrpcError,
    ProtocolError,
    StartUpError,
    UnavailableError,
)
from mkrpc.frame_codec import decode_down, encode_up
from mkrpc.instance.assembly import assemble, open_links, take_apart
from mkrpc.instance.backtrace import LoopBacktrace
from mkrpc.instance.boot import Boot
from mkrpc.instance.heartbeat import Heartbeats
from mkrpc.instance.oops import last_words
from mkrpc.instance.turns import run_for_a_turn
from mkrpc.instance.uplink import Uplink, is_passing
from mkrpc.link.frames import DownFrame, Goodbye, Welcome
from mkrpc.transport import supervision
from mkrpc.transport.address import parse

__all__ = [
    "EXIT_FENCED",
    "EXIT_LINK_LOST",
    "EXIT_PANIC",
    "EXIT_REFUSED",
    "Boot",
    "InstanceProcess",
    "run",
]

EXIT_REFUSED = 3
"""The interconnect could not be reached, or refused the instance."""
EXIT_LINK_LOST = 4
"""The link ended in a way that coming back cannot mend, such as a broken protocol."""
EXIT_PANIC = 5
"""The kernel panicked (``panic_on_oops``)."""
EXIT_FENCED = 7
"""The lease ended: the process was stopped, or cut off, for too long. It did nothing after that."""

LEAVE_TIMEOUT_S = 3.0
"""Seconds for the last reports and the goodbye to go out; then the process ends without."""

GATHER_S = 0.01
"""Seconds for which writes of programs gather while the instance is beyond its rate. A frame costs
the interconnect, and so all others, as much with one write as with hundreds that are refused.
Whatever else there is to say goes at once, and takes them along."""

BEGIN_PATIENCE_S = 20.0
"""Seconds in which an instance that was never attached tries again, if what refuses it may pass, as
an interconnect does that recovers."""

_log = structlog.get_logger("mkrpc.instance")


class InstanceProcess:
    """One kernel and its link to the interconnect, over one stream after another.

    Raises InvalidArgumentError and its like for programs and handlers that cannot be.
    """

    def __init__(self, boot: Boot) -> None:
        self._boot = boot
        self._started_us = _now_us()
        self.kernel, self._attachment = assemble(boot)
        self._uplink = Uplink(parse(boot.address), self)
        self._attached = False
        self._running = False
        self._leaving: tuple[int, str] | None = None
        self._said_goodbye = False
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due_s = 0.0  # uvloop has handles that do not say
        self._gathering: asyncio.TimerHandle | None = None
        self._answered_us = 0
        """Of the beats past the stream, as the attachment knows it."""
        self._heartbeats = Heartbeats(
            boot.beats_at,
            self.kernel.incarnation,
            now_us=_now_us,
            renewed_us=lambda: self._attachment.lease_since_us,
            describe=LoopBacktrace(self.kernel),
        )
        self._loop = asyncio.get_running_loop()
        self._done: asyncio.Future[int] = self._loop.create_future()

    async def run(self) -> int:
        """Attach, run until the end; the exit code of the process."""
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._leave, 0, "asked to stop")
        connecting = asyncio.ensure_future(self._uplink.open())
        either: set[asyncio.Future[Any]] = {connecting, self._done}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not connecting.done():
            connecting.cancel()  # asked to stop before anybody answered
            return await self._done
        try:
            await connecting
        except MkrpcError as error:
            _log.error("cannot attach", error=str(error), advice=error.advice)
            raise
        try:
            return await self._done
        finally:
            for timer in (self._timer, self._gathering):
                if timer is not None:
                    timer.cancel()
            self._uplink.stop()
            self._heartbeats.stop()

    # What comes over its streams; as an :class:`mkrpc.instance.uplink.UplinkOwner`.

    def hello(self) -> bytes | None:
        """A stream stands."""
        if self._done.done() or not self._tell_time():
            return None
        hello = self._attachment.hello(os.getpid())
        self._set_timer()
        return encode_up(hello)

    def frame_came(self, frame: bytes) -> None:
        """The interconnect spoke."""
        if self._said_goodbye or not self._tell_time():
            # After a goodbye it has booked what is in our hands as lost: nothing more may be
            # applied.
            return
        try:
            message = decode_down(frame)
            if isinstance(message, DownFrame):
                if not self._attachment.connected:
                    raise ProtocolError("a frame before the welcome")
                self._attachment.receive(message, self._attachment.generation)
            elif isinstance(message, Welcome):
                self._welcome(message)
            else:
                self._leaving = (0, f"the interconnect said goodbye: {message.reason}")
                self._close()
                return
        except ProtocolError as error:
            self._leaving = (EXIT_LINK_LOST, f"the interconnect broke the protocol: {error}")
            self._close(error)
            return
        self._go_on()

    def frame_went(self) -> None:
        """The last frame is on its way: what has gathered meanwhile goes as the next one.

        What it took with it may have let CPUs run on.
        """
        if self._attachment.connected and self._tell_time():
            self._go_on(gather=True)

    def stream_ended(self, error: MkrpcError | None) -> None:
        """The stream is gone: come back, unless that is hopeless or not wanted."""
        self._attachment.disconnected()
        if self._done.done():
            return
        if self._leaving is not None:
            self._finish(*self._leaving)
        elif not self._attached and not self._may_begin_again(error):
            _log.error("refused", error=str(error), advice=error.advice if error else "")
            self._done.set_exception(error or StartUpError("the interconnect hung up"))
        elif is_passing(error):
            left_s = self._attachment.lease_left_us / 1e6
            _log.warning("the link broke", error=str(error or "closed"), lease_left_s=left_s)
            self._uplink.come_back(self._patience_s)
        else:
            code = EXIT_FENCED if isinstance(error, FencedError) else EXIT_LINK_LOST
            self._finish(code, f"the link ended: {error}")

    def _may_begin_again(self, error: MkrpcError | None) -> bool:
        """Nothing has happened yet; one that recovers takes newcomers a little later."""
        passing = isinstance(error, UnavailableError) and self._patience_s() > 0
        return passing or isinstance(error, DeadlineExceededError)

    def _patience_s(self) -> float:
        if self._attached:
            return self._attachment.lease_left_us / 1e6
        return self._started_us / 1e6 + BEGIN_PATIENCE_S - _now_us() / 1e6

    def _welcome(self, welcome: Welcome) -> None:
        self._attachment.welcome(welcome)
        if not self._attachment.connected:
            # On a machine with far too much to do: nothing has happened yet, so try again.
            self._uplink.give_up(DeadlineExceededError("the welcome came after its lease"))
            return
        self._uplink.welcomed()
        self._heartbeats.welcomed(welcome)
        self._set_timer()
        # The first time the interconnect says so; hundreds of instances have no need to.
        tell = _log.info if self._attached else _log.debug
        tell(
            "resumed" if self._attached else "attached",
            epoch=f"{welcome.epoch:016x}",
            generation=welcome.generation,
            pid=os.getpid(),
            model=state().text,
        )
        if not self._attached:
            self._attached = True
            open_links(self.kernel)
            self._boot.on_attached()

    # Time.

    def _tell_time(self) -> bool:
        """Whether the instance may go on; if its lease is over, this ends the process."""
        answered_us = self._heartbeats.answered_us
        try:
            if answered_us != self._answered_us:
                self._answered_us = answered_us
                self._attachment.beat_answered(answered_us)
            self._attachment.advance(_now_us())
        except FencedError as error:
            self._finish(EXIT_FENCED, str(error))
            self._close(error)
            return False
        return True

    def _set_timer(self) -> None:
        """For the next beat, or the end of the lease."""
        deadline = self._attachment.deadline_us
        if deadline is None:
            return
        when = self._loop.time() + max(0, deadline - _now_us()) / 1e6
        if self._timer is not None:
            if self._timer_due_s <= when and not self._timer.cancelled():
                return
            self._timer.cancel()
        self._timer, self._timer_due_s = self._loop.call_at(when, self._time_is_up), when

    def _time_is_up(self) -> None:
        self._timer = None
        if self._done.done() or not self._tell_time():
            return
        if self._attachment.stalled:
            self._uplink.give_up(DeadlineExceededError("nothing has come for too long"))
        self._pump()
        self._set_timer()

    # The kernel.

    def _go_on(self, *, gather: bool = False) -> None:
        """After the kernel has done something: send, run on, or leave if it has failed.

        ``gather``: nobody has asked for what there is to send; see :data:`GATHER_S`.
        """
        if self.kernel.failed is not None:
            self._leave(EXIT_PANIC, last_words(self.kernel))
        if not (gather and self._attachment.books.over_rate and self._leaving is None):
            self._pump()
        elif self._gathering is None:
            self._gathering = self._loop.call_later(GATHER_S, self._gathered)
        if not self._running and self._leaving is None and self.kernel.runnable:
            self._running = True
            self._loop.call_soon(self._advance)

    def _advance(self) -> None:
        self._running = False
        if self._leaving is None and not self._done.done() and self._tell_time():
            run_for_a_turn(self._attachment.run)
            self._go_on(gather=True)

    def _gathered(self) -> None:
        self._gathering = None
        if not self._done.done() and self._tell_time():
            self._pump()

    def _pump(self) -> None:
        connection = self._uplink.connection
        if connection is None or not self._attachment.connected or not connection.writable:
            return
        if self._said_goodbye:
            connection.close()
        elif (frame := self._attachment.next_frame()) is not None:
            connection.send(encode_up(frame))
            if frame.beat:
                self._set_timer()
        elif self._leaving is not None:
            code, reason = self._leaving
            self._said_goodbye = True
            connection.send(encode_up(Goodbye(reason, failed=code != 0)))

    # The end.

    def _leave(self, code: int, reason: str) -> None:
        """Report everything, say goodbye, close; the process ends when that is done."""
        if self._leaving is not None:
            return
        self._leaving = (code, reason)
        if not self._attachment.connected or self._uplink.connection is None:
            self._finish(code, reason)
            return
        self._loop.call_later(LEAVE_TIMEOUT_S, self._finish, code, reason)
        if self._tell_time():
            self._pump()

    def _close(self, error: MkrpcError | None = None) -> None:
        connection = self._uplink.connection
        if connection is not None:
            connection.close(error)

    def _finish(self, code: int, reason: str) -> None:
        if self._done.done():
            return
        if code == 0:
            _log.info("leaving", reason=reason)
        else:
            last = [record.text for record in self.kernel.log.since(0)[-20:]]
            _log.error("leaving", reason=reason, code=code, last_printk=last)
        self._done.set_result(code)


def _now_us() -> int:
    return time.monotonic_ns() // 1000


def run(boot: Boot) -> int:
    """Run an instance in this process until it ends; the exit code.

    Raises the :class:`MkrpcError` that kept it from attaching.
    """

    async def main() -> int:
        process = InstanceProcess(boot)
        try:
            return await process.run()
        finally:
            take_apart(process._attachment)

    try:
        return supervision.run(main())
    except UnavailableError as error:
        raise UnavailableError(
            str(error), advice=error.advice or "is the interconnect running? try `mkrpc up`"
        ) from error
