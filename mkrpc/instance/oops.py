"""What a kernel prints when something that runs on it raises.

The texts are after the fashion of arch/x86/kernel/dumpstack.c; the trace is Python's, innermost
frame first.
"""

import traceback
from typing import TYPE_CHECKING

from mkrpc.instance.printk import KERN_ALERT

if TYPE_CHECKING:
    from mkrpc.instance.cpu import Cpu
    from mkrpc.instance.kernel import Kernel

__all__ = ["OOPS_TRACE_LINES", "last_words", "print_oops"]

OOPS_TRACE_LINES = 16
"""Innermost frames of the call trace that an oops prints."""


def print_oops(cpu: "Cpu", error: BaseException, *, vector: int | None, number: int) -> None:
    """The lines of oops ``number``: in a handler of ``vector``, or in a program (None)."""
    where = "program" if vector is None else f"interrupt {vector:#04x}"
    message, _, _ = str(error).partition("\n")
    lines = [
        f"Oops: {type(error).__name__}: {message} [#{number}]",
        f"CPU: {cpu.number} APIC: {cpu.apic_id:#x} Comm: {cpu.kernel.config.name} ({where})",
        "Call Trace:",
    ]
    frames = traceback.extract_tb(error.__traceback__)
    for frame in reversed(frames[-OOPS_TRACE_LINES:]):
        lines.append(f" {frame.name} {frame.filename}:{frame.lineno}")
    for line in (*lines, "---[ end trace ]---"):
        cpu.kernel.log.emit(KERN_ALERT, line, cpu.number)


def last_words(kernel: "Kernel") -> str:
    """Why the kernel panicked, with the oops behind it: its log goes with the process."""
    oopses = [record.text for record in kernel.log.since(0) if record.text.startswith("Oops: ")]
    return f"{kernel.failed} ({oopses[-1]})" if oopses else str(kernel.failed)
