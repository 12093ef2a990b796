"""What holds the event loop of an instance, as seen from a thread beside it.

Linux sends a backtrace of the CPU that sits on a CSD lock. Here a handler that is a plain function
runs within the event loop, so nobody in it can say that it has not returned: the heartbeat can.
"""

import sys
import threading
from pathlib import PurePath
from types import FrameType

from mkrpc.instance.diagnosis import busy_cores
from mkrpc.instance.execution import OUTSIDE
from mkrpc.instance.kernel import Kernel
from mkrpc.link.lease import MAX_WHERE
from mkrpc.x86.pending import CoreState

__all__ = ["LoopBacktrace"]

_BELOW = frozenset({"mkrpc.instance.execution", "mkrpc.instance.arrivals", "mkrpc.instance.turns"})
"""What calls code of the instance; compiled, the first ones have no frames."""
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
        inside = [(cpu.number, cpu.inside) for cpu in self._kernel.cpus if cpu.inside != OUTSIDE]
        entered = next(((cpu, vector) for cpu, vector in inside if vector >= 0), None)
        try:
            return busy_cores(self._kernel, entered), _where(frames, bool(inside))
        except IndexError:
            # It has gone on in the middle of being looked at: nothing holds it.
            return [], ""


def _where(frames: list[FrameType], inside: bool) -> str:
    """From the innermost frame outward; ``inside`` of code of the instance."""
    modules = [str(frame.f_globals.get("__name__", "")) for frame in frames]
    if inside:
        depth = next((i for i, module in enumerate(modules) if module in _BELOW), len(modules))
        own = [
            f
            for f, m in zip(frames[:depth], modules, strict=False)
            if _package(m) not in _NOT_OF_HANDLERS
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
