"""Reads one recorded test of the patched kernel, and the verbs of its script."""

from collections.abc import Mapping
from typing import Any

from mkrpc.conformance.fields import (
    MAX_VECTOR,
    MAX_WORD,
    MalformedError,
    as_bool,
    as_cpu,
    as_enum,
    as_number,
    as_strings,
    at,
    given,
    number_at,
    string_at,
)
from mkrpc.conformance.recording import Line, LinuxApic, LinuxTest, Verb

__all__ = ["MAX_CPUS", "MAX_REPEAT", "MAX_STEPS", "linux_test"]

MAX_CPUS = 64
"""CPUs of one scenario."""
MAX_STEPS = 100_000
"""Steps, or lines of a script, of one scenario."""
MAX_REPEAT = 100_000
"""Times that one line of a script sends."""
_MAX_DELAY_MS = 3_600_000

_OPERANDS: Mapping[Verb, tuple[str, ...]] = {
    Verb.ONE: ("cpu",),
    Verb.VEC: ("cpu", "vector"),
    Verb.MASK: ("mask",),
    Verb.MASK_BUT_SELF: ("mask",),
    Verb.ALL_BUT_SELF: (),
    Verb.ALL: (),
    Verb.SELF: (),
    Verb.RAW: ("high", "low"),
    Verb.CLI: (),
    Verb.STI: (),
    Verb.HOLD: ("cpu",),
    Verb.RELEASE: ("cpu",),
    Verb.PEEK: ("cpu", "vector"),
    Verb.PEEK_SELF: ("vector",),
    Verb.DELAY: ("delay_ms",),
}
_REPEATABLE = frozenset(
    (Verb.ONE, Verb.MASK, Verb.MASK_BUT_SELF, Verb.ALL_BUT_SELF, Verb.ALL, Verb.SELF)
)
_HEXADECIMAL = {
    "vector": MAX_VECTOR,
    "mask": (1 << MAX_CPUS) - 1,
    "high": MAX_WORD,
    "low": MAX_WORD,
}
_DECIMAL = {"delay_ms": _MAX_DELAY_MS, "repeat": MAX_REPEAT}


def linux_test(line: Mapping[str, Any], number: int) -> LinuxTest:
    """The test of one line of a file; raises MalformedError."""
    cal = _counts(given(line, "cal"), "cal")
    if not 1 <= len(cal) <= MAX_CPUS:
        raise MalformedError(f"'cal' names {len(cal)} CPUs, 1 to {MAX_CPUS} can be")
    expected = None if line.get("expected") is None else _counts(line["expected"], "expected")
    if expected is not None and len(expected) != len(cal):
        raise MalformedError("'expected' and 'cal' differ in length")
    script = as_strings(given(line, "script"), "script")
    if len(script) > MAX_STEPS:
        raise MalformedError(f"{len(script)} verbs, at most {MAX_STEPS}")
    note = line.get("note") or []
    return LinuxTest(
        name=string_at(line, "name"),
        line=number,
        sender=number_at(line, "sender", len(cal) - 1),
        script=tuple(at(repr(text), _line, text, len(cal)) for text in script),
        cal=cal,
        printk=number_at(line, "printk", MAX_WORD),
        expected=expected,
        clean=as_bool(given(line, "clean"), "clean"),
        peek=as_strings(line.get("peek", []), "peek"),
        apic=as_enum(LinuxApic, given(line, "apic"), "apic"),
        other_dmesg=as_strings(line.get("other_dmesg", []), "other_dmesg"),
        note=note if isinstance(note, str) else " ".join(as_strings(note, "note")),
    )


def _counts(value: object, name: str) -> tuple[int, ...]:
    if not isinstance(value, list):
        raise MalformedError(f"'{name}' is no list of counts")
    return tuple(as_number(count, name, MAX_WORD) for count in value)


def _line(text: str, cpus: int) -> Line:
    if not text.strip():
        raise MalformedError("a line without a verb")
    word, *given = text.split()
    verb = as_enum(Verb, word, "verb")
    names = _OPERANDS[verb]
    if len(given) == len(names) + 1 and verb in _REPEATABLE:
        names = (*names, "repeat")
    if len(given) != len(names):
        raise MalformedError(f"{len(given)} operands, {verb} takes {len(names)}")
    operands = {n: _operand(n, value, cpus) for n, value in zip(names, given, strict=True)}
    return Line(verb=verb, **operands)


def _operand(name: str, text: str, cpus: int) -> int:
    if name == "cpu":
        return as_cpu(text, cpus)
    base, most = (16, _HEXADECIMAL[name]) if name in _HEXADECIMAL else (10, _DECIMAL[name])
    try:
        return as_number(int(text, base), name, most, base=base)
    except ValueError:
        raise MalformedError(f"{name} {text!r} is no number to base {base}") from None
