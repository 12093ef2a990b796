"""A process that has lost one of its parts ends, loudly, and does not go on as if it had not.

asyncio logs what a callback or a timer raises and goes on; a thread that raises is gone, and
nobody notices. Under :func:`run` each of them ends the process at once with :data:`EXIT_BUG`, the
traceback being its last words; whoever started it can start another one. Nothing is cleaned up on
the way: what must outlive a process outlives kill -9.
"""

import asyncio
import logging
import os
import sys
import threading
from collections.abc import Coroutine
from typing import Any, NoReturn, TypeVar

import grpc

from mkrpc.errors import MkrpcError

__all__ = ["EXIT_BUG", "core_task", "end_loudly", "run"]

EXIT_BUG = os.EX_SOFTWARE
"""70, as in sysexits.h: a bug ended one of the process's parts, and so the process."""

_LOGGER = logging.getLogger(__name__)

_ResultT = TypeVar("_ResultT")

# What a call that is over leaves in a task or a future that nobody looks at any more.
_PASSING = (
    MkrpcError,
    OSError,
    asyncio.CancelledError,
    asyncio.InvalidStateError,
    grpc.RpcError,
    grpc.aio.BaseError,
)


def end_loudly(bug: BaseException | None, what: str) -> NoReturn:
    """Log the traceback and end the process, from any thread."""
    _LOGGER.critical("a bug in %s: this process ends with exit code %d", what, EXIT_BUG)
    if bug is not None:
        _LOGGER.critical("its traceback", exc_info=bug)
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(EXIT_BUG)


def run(main: Coroutine[Any, Any, _ResultT]) -> _ResultT:
    """As ``asyncio.run``, but any part that dies ends the process; signals are up to ``main``.

    The loop is the one that the transport of this process wants.

    What ``main`` itself raises is passed on if it is a MkrpcError, else it is a SystemExit with
    :data:`EXIT_BUG`: whoever called can still clean up.
    """
    from mkrpc.transport.choice import chosen  # the transports themselves end loudly

    threading.excepthook = _thread_died
    try:
        new_loop = chosen().new_loop
    except MkrpcError:
        main.close()
        raise
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.get_loop().set_exception_handler(_loop_met)
        try:
            return runner.run(main)
        except MkrpcError:
            raise
        except Exception as bug:
            _LOGGER.critical("a bug: this process ends with exit code %d", EXIT_BUG, exc_info=bug)
            raise SystemExit(EXIT_BUG) from bug


def core_task(work: Coroutine[Any, Any, None], what: str) -> "asyncio.Task[None]":
    """A task without which the process must not go on. Whoever asked for it keeps it."""

    def done(task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and (bug := task.exception()) is not None:
            end_loudly(bug, what)

    task = asyncio.ensure_future(work)
    task.add_done_callback(done)
    return task


def _loop_met(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    bug = context.get("exception")
    message = str(context.get("message", "the event loop"))
    if bug is None or ("handle" not in context and isinstance(bug, _PASSING)):
        _LOGGER.warning("%s", message, exc_info=bug)
        return
    end_loudly(bug, message)


def _thread_died(arguments: threading.ExceptHookArgs) -> None:
    if arguments.exc_type is SystemExit:
        return
    who = arguments.thread.name if arguments.thread is not None else "unnamed"
    end_loudly(arguments.exc_value, f"the thread {who}")
