"""What holds the event loop of an instance, as seen from a thread beside it.

Linux sends a backtrace of the CPU that sits on a CSD lock. Here a handler that is a plain function
runs within the event loop, so nobody in it can say that it has not returned: the heartbeat can.
"""

import sys
import threading
from pathlib import PurePath
from types import FrameType

from mkrpc.instance import execution
from mkrpc.instance.diagnosis import busy_cores
from mkrpc.instance.execution import PythonExecution
from mkrpc.instance.kernel import Kernel
from mkrpc.link.lease import MAX_WHERE
from mkrpc.x86.pending import CoreState

__all__ = ["LoopBacktrace"]

_ENTER = PythonExecution.enter.__code__
_EXECUTION = execution.__name__
_IDLE = ("asyncio", "selectors")
_NOT_OF_HANDLERS = sys.stdlib_module_names | {"mkrpc"}


class LoopBacktrace:
    """Called from any thread, it says what the thread that made it is at."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._thread = threading.get_ident()

    def __call__(self) -> tuple[list[CoreState], str]:
        """The CPUs that owe somebody something; and file, line and function of the code that the
        thread executes, of a handler's own if it is in one; empty if it waits for its streams."""
        frames = []
        frame = sys._current_frames().get(self._thread)
        while frame is not None:
            frames.append(frame)
            frame = frame.f_back
        entered = next((found for each in frames if (found := _entered(each)) is not None), None)
        try:
            return busy_cores(self._kernel, entered), _where(frames)
        except IndexError:
            # It has gone on in the middle of being looked at: nothing holds it.
            return [], ""


def _entered(frame: FrameType) -> tuple[int, int] | None:
    """The CPU's number and the vector of a handler that is being entered here."""
    if frame.f_code is not _ENTER:
        return None
    running, vector = frame.f_locals.get("self"), frame.f_locals.get("vector")
    if isinstance(running, PythonExecution) and isinstance(vector, int):
        return running.cpu_number, vector
    return None


def _where(frames: list[FrameType]) -> str:
    """From the innermost frame outward."""
    modules = [str(frame.f_globals.get("__name__", "")) for frame in frames]
    if _EXECUTION in modules:
        inner = frames[: modules.index(_EXECUTION)]
        own = [
            f for f, m in zip(inner, modules, strict=False) if _package(m) not in _NOT_OF_HANDLERS
        ]
        chosen = (own or frames)[0]
    elif not frames or _package(modules[0]) in _IDLE:
        return ""
    else:
        chosen = frames[0]
    code = chosen.f_code
    return f"{PurePath(code.co_filename).name}:{chosen.f_lineno} in {code.co_name}"[:MAX_WHERE]


def _package(module: str) -> str:
    return module.partition(".")[0]
