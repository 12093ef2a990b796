"""What holds the event loop of an instance, as seen from a thread beside it.

Linux sends a backtrace of the CPU that sits on a CSD lock. Here a handler that is a plain function
runs within the event loop, so nobody in it can say that it has not returned: the heartbeat can.
"""

import sys
import threading
from pathlib import PurePath
from types import CodeType, FrameType

from mkrpc.instance.diagnosis import busy_cores
from mkrpc.instance.execution import PythonExecution
from mkrpc.instance.kernel import Kernel
from mkrpc.link.lease import MAX_WHERE
from mkrpc.x86.pending import CoreState

__all__ = ["LoopBacktrace"]

_ENTER: CodeType = PythonExecution.enter.__code__
_IDLE = ("asyncio", "selectors", "threading")


class LoopBacktrace:
    """Called from any thread, it says what the thread that made it is at."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._thread = threading.get_ident()

    def __call__(self) -> tuple[list[CoreState], str]:
        """The CPUs that owe somebody something; and file, line and function of the code that the
        thread executes, empty if it waits for its streams."""
        frame = sys._current_frames().get(self._thread)
        where = "" if frame is None or _waits(frame) else _where(frame)
        entered = None
        while frame is not None and entered is None:
            if frame.f_code is _ENTER:
                entered = _entered(frame)
            frame = frame.f_back
        try:
            return busy_cores(self._kernel, entered), where
        except IndexError:
            # It has gone on in the middle of being looked at: nothing holds it.
            return [], ""


def _waits(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0] in _IDLE


def _where(frame: FrameType) -> str:
    file = PurePath(frame.f_code.co_filename).name
    return f"{file}:{frame.f_lineno} in {frame.f_code.co_name}"[:MAX_WHERE]


def _entered(frame: FrameType) -> tuple[int, int] | None:
    """The CPU's number and the vector of a handler that is being entered."""
    execution, vector = frame.f_locals.get("self"), frame.f_locals.get("vector")
    if isinstance(execution, PythonExecution) and isinstance(vector, int):
        return execution.cpu_number, vector
    return None
