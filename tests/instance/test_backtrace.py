"""A thread beside the event loop says what holds it, which the loop itself cannot."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mkrpc.instance.backtrace import LoopBacktrace
from mkrpc.instance.instructions import Nop
from mkrpc.instance.kernel import Kernel
from mkrpc.x86.icr import icr_word
from mkrpc.x86.pending import CoreState

TIMEOUT_S = 30


class Loop:
    """A thread in the place of an event loop, which stays where ``hold`` is called."""

    def __init__(self) -> None:
        self.held = threading.Event()
        self.free = threading.Event()
        self._thread: threading.Thread | None = None

    def hold(self) -> None:
        self.held.set()
        assert self.free.wait(TIMEOUT_S)

    def look(self, kernel: Kernel, work: Callable[[], Any]) -> tuple[list[CoreState], str]:
        """What is seen of the thread once its work has come to ``hold``."""
        made: list[LoopBacktrace] = []

        def run() -> None:
            made.append(LoopBacktrace(kernel))
            work()

        self._thread = threading.Thread(target=run)
        self._thread.start()
        assert self.held.wait(TIMEOUT_S)
        return made[0]()

    def end(self) -> None:
        self.free.set()
        if self._thread is not None:
            self._thread.join(TIMEOUT_S)


@pytest.fixture
def loop() -> Iterator[Loop]:
    started = Loop()
    yield started
    started.end()


def test_a_plain_function_that_has_not_returned_is_named(kernel: Kernel, loop: Loop) -> None:
    def hangs(cpu: Any) -> None:
        loop.hold()

    kernel.idt.install(0x52, "hangs", hangs)
    word = icr_word(vector=0x52, destination=1)
    (core,), where = loop.look(kernel, lambda: kernel.accept(1, word))
    assert (core.cpu, core.handlers, core.entered) == (1, (0x52,), True)
    assert (core.isr, core.interrupts_enabled) == (1 << 0x52, False)
    assert where.startswith("test_backtrace.py:")
    assert where.endswith("in hold")


def test_a_handler_behind_sysvec_multikernel_has_written_eoi(kernel: Kernel, loop: Loop) -> None:
    kernel.register_handler(lambda cpu: loop.hold())
    word = icr_word(vector=0xEA, destination=0)
    (core,), _ = loop.look(kernel, lambda: kernel.accept(0, word))
    assert (core.cpu, core.handlers, core.isr) == (0, (0xEA,), 0)


def test_a_generator_that_holds_the_loop_is_said_by_its_line(kernel: Kernel, loop: Loop) -> None:
    def program(cpu: Any) -> Any:
        yield Nop()
        loop.hold()

    kernel.start_program(0, program)
    cores, where = loop.look(kernel, lambda: kernel.advance(5))
    assert cores == []
    assert where.endswith("in hold")


def test_the_innermost_of_nested_functions_is_named(kernel: Kernel, loop: Loop) -> None:
    def outer(cpu: Any) -> None:
        cpu.interrupts_enabled = True
        cpu.self_ipi(0x61)
        cpu.boundary()

    kernel.idt.install(0x52, "outer", outer)
    kernel.idt.install(0x61, "inner", lambda cpu: loop.hold())
    word = icr_word(vector=0x52, destination=1)
    (core,), _ = loop.look(kernel, lambda: kernel.accept(1, word))
    assert core.handlers[-1] == 0x61


def test_a_thread_that_has_ended_holds_nothing(kernel: Kernel, loop: Loop) -> None:
    made: list[LoopBacktrace] = []
    thread = threading.Thread(target=lambda: made.append(LoopBacktrace(kernel)))
    thread.start()
    thread.join()
    assert made[0]() == ([], "")
