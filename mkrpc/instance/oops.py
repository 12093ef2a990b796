"""What a kernel prints when something that runs on it raises.

The texts are after the fashion of arch/x86/kernel/dumpstack.c; the trace is Python's, innermost
frame first.
"""

import traceback
from typing import TYPE_CHECKING

from mkrpc.instance.printk import KERN_ALERT

if TYPE_CHECKING:
    from mkrpc.instance.cpu import Cpu

__all__ = ["OOPS_TRACE_LINES", "print_oops"]

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
