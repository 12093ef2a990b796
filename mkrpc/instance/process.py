"""The gRPC driver of one kernel instance: pumps frames between its link and its kernel.

No rule of the design lives here (section 4): what to send, what to answer and what to remember is
decided by :class:`Kernel` and :class:`Attachment`. This file owns the event loop, the signals and
the end of the process.
"""

import asyncio
import mmap
import os
import secrets
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog

from mkrpc.errors import MkrpcError, ProtocolError, StartUpError, UnavailableError
from mkrpc.frame_codec import ATTACH, decode_down, encode_up
from mkrpc.instance.attachment import Attachment
from mkrpc.instance.kernel import Kernel, KernelConfig
from mkrpc.instance.memory import SharedMemory
from mkrpc.link.frames import Goodbye, Welcome
from mkrpc.transport.address import parse
from mkrpc.transport.aio import connect
from mkrpc.transport.stream import Connection

__all__ = ["EXIT_LINK_LOST", "EXIT_PANIC", "EXIT_REFUSED", "Boot", "InstanceProcess", "run"]

EXIT_REFUSED = 3
"""The interconnect could not be reached, or refused the instance."""
EXIT_LINK_LOST = 4
"""The link broke while the instance ran."""
EXIT_PANIC = 5
"""The kernel panicked (``panic_on_oops``)."""

LEAVE_TIMEOUT_S = 3.0
"""Seconds for the last reports and the goodbye to go out; then the process ends without."""

BUDGET = 512
"""Instruction boundaries that programs run before the link has its turn."""

_log = structlog.get_logger("mkrpc.instance")


@dataclass(frozen=True, slots=True, kw_only=True)
class Boot:
    """What an instance starts with.

    ``programs``: what runs on which CPU, by its number in the instance. ``handlers`` are registered
    for MULTIKERNEL_VECTOR. ``memory``: a file that every instance of the host maps, or None.
    """

    config: KernelConfig
    address: str
    programs: Sequence[tuple[int, Callable[..., Any]]] = ()
    handlers: Sequence[Callable[..., Any]] = ()
    memory: Path | None = None
    on_attached: Callable[[], None] = field(default=lambda: None)


class InstanceProcess:
    """One kernel and its connection; a :class:`mkrpc.transport.stream.ConnectionHandler`.

    Raises InvalidArgumentError and its like for programs and handlers that cannot be.
    """

    def __init__(self, boot: Boot) -> None:
        self._boot = boot
        started = time.monotonic_ns()
        memory = _map_memory(boot.memory) if boot.memory is not None else None
        self.kernel = Kernel(
            boot.config,
            incarnation=secrets.token_bytes(16),
            now_us=lambda: (time.monotonic_ns() - started) // 1000,
            memory=memory,
        )
        # Programs begin to run once the link is up; here they are only put in place.
        for handler in boot.handlers:
            self.kernel.register_handler(handler)
        for cpu, program in boot.programs:
            self.kernel.start_program(cpu, program)
        self._attachment = Attachment(self.kernel)
        self._connection: Connection | None = None
        self._attached = False
        self._running = False
        self._leaving: tuple[int, str] | None = None
        self._said_goodbye = False
        self._loop = asyncio.get_running_loop()
        self._done: asyncio.Future[int] = self._loop.create_future()

    async def run(self) -> int:
        """Attach, run until the link ends; the exit code of the process."""
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._leave, 0, "asked to stop")
        connecting = asyncio.ensure_future(connect(parse(self._boot.address), ATTACH, self._open))
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
        return await self._done

    def _open(self, connection: Connection) -> "InstanceProcess":
        self._connection = connection
        connection.send(encode_up(self._attachment.hello(os.getpid())))
        return self

    def on_frame(self, connection: Connection, frame: bytes) -> None:
        """The interconnect spoke."""
        if self._said_goodbye:
            # It has booked what is in our hands as lost: nothing more may be applied.
            return
        try:
            message = decode_down(frame)
            if isinstance(message, Welcome):
                self._welcome(message)
            elif isinstance(message, Goodbye):
                self._leaving = (0, f"the interconnect said goodbye: {message.reason}")
                connection.close()
                return
            elif not self._attached:
                raise ProtocolError("a frame before the welcome")
            else:
                self._attachment.receive(message)
        except ProtocolError as error:
            self._leaving = (EXIT_LINK_LOST, f"the interconnect broke the protocol: {error}")
            connection.close(error)
            return
        self._go_on()

    def on_writable(self, connection: Connection) -> None:
        """The last frame is on its way: what has gathered meanwhile goes as the next one.

        What it took with it may have let CPUs run on.
        """
        if self._attached:
            self._go_on()

    def on_closed(self, connection: Connection, error: MkrpcError | None) -> None:
        """The link is gone."""
        self._connection = None
        if self._done.done():
            return
        if self._leaving is not None:
            self._finish(*self._leaving)
        elif not self._attached:
            _log.error("refused", error=str(error), advice=error.advice if error else "")
            self._done.set_exception(error or StartUpError("the interconnect hung up"))
        else:
            self._finish(EXIT_LINK_LOST, f"the link broke: {error or 'closed by the peer'}")

    def _welcome(self, welcome: Welcome) -> None:
        self._attachment.welcome(welcome)
        self._attached = True
        _log.info("attached", epoch=f"{welcome.epoch:016x}", pid=os.getpid())
        self._boot.on_attached()

    def _go_on(self) -> None:
        """After the kernel has done something: send, run on, or leave if it has failed."""
        if self.kernel.failed is not None:
            self._leave(EXIT_PANIC, _last_words(self.kernel))
        self._pump()
        if not self._running and self._leaving is None and self.kernel.runnable:
            self._running = True
            self._loop.call_soon(self._advance)

    def _advance(self) -> None:
        self._running = False
        if self._connection is not None and self._leaving is None:
            self.kernel.advance(BUDGET)
            self._go_on()

    def _pump(self) -> None:
        connection = self._connection
        if connection is None or not self._attached or not connection.writable:
            return
        if self._said_goodbye:
            connection.close()
        elif (frame := self._attachment.next_frame()) is not None:
            connection.send(encode_up(frame))
        elif self._leaving is not None:
            code, reason = self._leaving
            self._said_goodbye = True
            connection.send(encode_up(Goodbye(reason, failed=code != 0)))

    def _leave(self, code: int, reason: str) -> None:
        """Report everything, say goodbye, close; the process ends when that is done."""
        if self._leaving is not None:
            return
        self._leaving = (code, reason)
        if self._connection is None or not self._attached:
            self._finish(code, reason)
            return
        self._loop.call_later(LEAVE_TIMEOUT_S, self._finish, code, reason)
        self._pump()

    def _finish(self, code: int, reason: str) -> None:
        if self._done.done():
            return
        if code == 0:
            _log.info("leaving", reason=reason)
        else:
            last = [record.text for record in self.kernel.log.since(0)[-20:]]
            _log.error("leaving", reason=reason, code=code, last_printk=last)
        self._done.set_result(code)


def _last_words(kernel: Kernel) -> str:
    """Why the kernel panicked, with the oops behind it: its log goes with the process."""
    oopses = [record.text for record in kernel.log.since(0) if record.text.startswith("Oops: ")]
    return f"{kernel.failed} ({oopses[-1]})" if oopses else str(kernel.failed)


def _map_memory(path: Path) -> SharedMemory:
    try:
        with path.open("r+b") as file:
            return SharedMemory(mmap.mmap(file.fileno(), 0))
    except (OSError, ValueError) as error:
        raise StartUpError(
            f"cannot map the shared memory {path}: {error}",
            advice="it is made by `mkrpc up`; instances on another host have none",
        ) from error


def run(boot: Boot) -> int:
    """Run an instance in this process until it ends; the exit code.

    Raises the :class:`MkrpcError` that kept it from attaching.
    """

    async def main() -> int:
        return await InstanceProcess(boot).run()

    try:
        return asyncio.run(main())
    except UnavailableError as error:
        raise UnavailableError(
            str(error), advice=error.advice or "is the interconnect running? try `mkrpc up`"
        ) from error
