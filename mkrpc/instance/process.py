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
    """One kernel and its connection; a :class:`mkrpc.transport.stream.ConnectionHandler`."""

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
        self._attachment = Attachment(self.kernel)
        self._connection: Connection | None = None
        self._attached = False
        self._running = False
        self._loop = asyncio.get_running_loop()
        self._done: asyncio.Future[int] = self._loop.create_future()

    async def run(self) -> int:
        """Attach, run until the link ends; the exit code of the process."""
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._leave, "asked to stop")
        try:
            await connect(parse(self._boot.address), ATTACH, self._open)
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
        try:
            message = decode_down(frame)
            if isinstance(message, Welcome):
                self._welcome(message)
            elif isinstance(message, Goodbye):
                self._finish(0, f"the interconnect said goodbye: {message.reason}")
                connection.close()
                return
            elif not self._attached:
                raise ProtocolError("a frame before the welcome")
            else:
                self._attachment.receive(message)
        except ProtocolError as error:
            self._finish(EXIT_LINK_LOST, f"the interconnect broke the protocol: {error}")
            connection.close(error)
            return
        self._pump()
        self._keep_running()

    def on_writable(self, connection: Connection) -> None:
        """The last frame is on its way: what has gathered meanwhile goes as the next one."""
        self._pump()

    def on_closed(self, connection: Connection, error: MkrpcError | None) -> None:
        """The link is gone."""
        self._connection = None
        if self._done.done():
            return
        if not self._attached:
            _log.error("refused", error=str(error), advice=error.advice if error else "")
            self._done.set_exception(error or StartUpError("the interconnect hung up"))
        else:
            self._finish(EXIT_LINK_LOST, f"the link broke: {error or 'closed by the peer'}")

    def _welcome(self, welcome: Welcome) -> None:
        self._attachment.welcome(welcome)
        self._attached = True
        for handler in self._boot.handlers:
            self.kernel.register_handler(handler)
        for cpu, program in self._boot.programs:
            self.kernel.start_program(cpu, program)
        _log.info("attached", epoch=f"{welcome.epoch:016x}", pid=os.getpid())
        self._boot.on_attached()

    def _pump(self) -> None:
        connection = self._connection
        if connection is None or not self._attached:
            return
        if connection.writable and (frame := self._attachment.next_frame()) is not None:
            connection.send(encode_up(frame))

    def _keep_running(self) -> None:
        if not self._running and self.kernel.runnable:
            self._running = True
            self._loop.call_soon(self._advance)

    def _advance(self) -> None:
        self._running = False
        if self._connection is None:
            return
        ran = self.kernel.advance(BUDGET)
        self._pump()
        if self.kernel.failed is not None:
            self._leave(self.kernel.failed, EXIT_PANIC)
        elif ran:
            self._keep_running()

    def _leave(self, reason: str, code: int = 0) -> None:
        connection = self._connection
        if connection is None:
            self._finish(code, reason)
            return
        self._finish(code, reason)
        if self._attached and connection.writable:
            connection.send(encode_up(Goodbye(reason)))
        connection.close()

    def _finish(self, code: int, reason: str) -> None:
        if self._done.done():
            return
        if code == 0:
            _log.info("leaving", reason=reason)
        else:
            last = [record.text for record in self.kernel.log.since(0)[-20:]]
            _log.error("leaving", reason=reason, code=code, last_printk=last)
        self._done.set_result(code)


def _map_memory(path: Path) -> SharedMemory:
    try:
        with path.open("r+b") as file:
            return SharedMemory(mmap.mmap(file.fileno(), 0))
    except (OSError, ValueError) as error:
        raise StartUpError(
            f"cannot map the shared memory {path}: {error}",
            advice="it is made by `mkrpc up`; leave --memory away on another host",
        ) from error


def run(boot: Boot) -> int:
    """Run an instance in this process until it ends; the exit code.

    Raises the :class:`MkrpcError` that kept it from attaching.
    """

    async def main() -> int:
        process = InstanceProcess(boot)
        code = await process.run()
        await asyncio.sleep(0)
        return code

    try:
        return asyncio.run(main())
    except UnavailableError as error:
        raise UnavailableError(
            str(error), advice=error.advice or "is the interconnect running? try `mkrpc up`"
        ) from error
