"""Reads recordings: one JSON object a line, ``.jsonl`` or ``.jsonl.gz``.

Everything is checked here, so that a scenario that was parsed can be played. What is wrong with a
file is an :class:`mkrpc.errors.InvalidArgumentError` that names the file and the line.
"""

import gzip
import json
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mkrpc.conformance.fields import (
    MAX_QWORD,
    MAX_VECTOR,
    MAX_WORD,
    MalformedError,
    as_bool,
    as_cpu,
    as_enum,
    as_number,
    as_object,
    as_strings,
    at,
    list_at,
    number_at,
    string_at,
)
from mkrpc.conformance.parse_linux import MAX_CPUS, MAX_STEPS, linux_test
from mkrpc.conformance.recording import (
    BANK_FIELDS,
    EVENT_FIELDS,
    REGISTER_FIELDS,
    REGISTER_NAMES,
    Agree,
    ApicMachineMode,
    ApicScenario,
    CpuDelta,
    FieldValue,
    LinuxTest,
    Op,
    Recording,
    Step,
)
from mkrpc.errors import InvalidArgumentError, LimitReachedError
from mkrpc.x86.icr import BROADCAST, XAPIC_BROADCAST
from mkrpc.x86.registers import X2APIC_WRITABLE, Register

__all__ = ["MAX_CPUS", "MAX_FILE_BYTES", "MAX_STEPS", "read_recording"]

MAX_FILE_BYTES = 256 << 20
"""Of one file, unpacked; beyond it LimitReachedError."""

_WORD_FIELDS = frozenset((*REGISTER_FIELDS, "boots", "if"))
_LIST_FIELDS = frozenset((*BANK_FIELDS, *EVENT_FIELDS))
_X2APIC_START = {
    "svr": X2APIC_WRITABLE[Register.SVR],
    "tpr": X2APIC_WRITABLE[Register.TPR],
}
_STEP_EXTRAS = frozenset({"result", "gp", "skipped"})


def read_recording(path: Path) -> Recording:
    """Every scenario of a file.

    Raises InvalidArgumentError with file and line for what is not a recording, and
    LimitReachedError for a file beyond ``MAX_FILE_BYTES``.
    """
    apic: list[ApicScenario] = []
    linux: list[LinuxTest] = []
    for number, text in enumerate(_lines(path), start=1):
        if not text.strip():
            continue
        try:
            line = as_object(_json(text), "a scenario")
            if "steps" in line:
                apic.append(_apic_scenario(line, number))
            elif "script" in line:
                linux.append(linux_test(line, number))
            else:
                raise MalformedError("neither 'steps' nor 'script': no recorded scenario")
            if apic and linux:
                raise MalformedError("scenarios of both kinds in one file")
        except MalformedError as error:
            raise InvalidArgumentError(
                f"{path}:{number}: {error}",
                advice="tests/golden/README.md has the format",
            ) from error
    if not apic and not linux:
        raise InvalidArgumentError(
            f"{path}: no recorded scenario in it", advice="name a file with one scenario a line"
        )
    _check_linux_file(path, linux)
    return Recording(apic=tuple(apic), linux=tuple(linux))


def _json(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise MalformedError(f"no JSON: {error}") from error


def _lines(path: Path) -> Iterator[str]:
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
        if len(data) > MAX_FILE_BYTES:
            raise LimitReachedError(
                f"{path}: more than {MAX_FILE_BYTES} bytes", advice="split the file"
            )
        return iter(data.decode().split("\n"))
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise InvalidArgumentError(
            f"{path}: cannot be read: {error}", advice="name a .jsonl or .jsonl.gz file"
        ) from error


def _check_linux_file(path: Path, tests: list[LinuxTest]) -> None:
    """The tests of a file ran in one boot: the same CPUs and driver throughout."""
    for test in tests:
        if len(test.cal) != len(tests[0].cal) or test.apic is not tests[0].apic:
            raise InvalidArgumentError(
                f"{path}:{test.line}: another number of CPUs or another APIC driver than line "
                f"{tests[0].line}",
                advice="the tests of a file ran in one boot: put others in a file of their own",
            )


# APIC scenarios.


def _apic_scenario(line: Mapping[str, Any], number: int) -> ApicScenario:
    mode = as_enum(ApicMachineMode, line.get("mode"), "mode")
    ids = _ids(line, BROADCAST if mode is ApicMachineMode.X2APIC else XAPIC_BROADCAST)
    steps = tuple(
        at(f"step {index}", _step, raw, len(ids))
        for index, raw in enumerate(list_at(line, "steps"))
    )
    if len(steps) > MAX_STEPS:
        raise MalformedError(f"{len(steps)} steps, at most {MAX_STEPS}")
    agree = as_enum(Agree, line.get("agree", Agree.UNSTATED), "agree")
    disagree = line.get("first_disagree_step")
    first_disagree_step = (
        None if disagree is None else number_at(line, "first_disagree_step", len(steps))
    )
    if agree is Agree.NO and first_disagree_step is None:
        raise MalformedError("agree 'no' without first_disagree_step")
    initial = _cpus(line, "initial", len(ids))
    if mode is ApicMachineMode.X2APIC:
        _check_x2apic_start(initial)
    if sorted(initial) != list(range(len(ids))):
        raise MalformedError("'initial' does not name every CPU")
    return ApicScenario(
        name=string_at(line, "name"),
        line=number,
        mode=mode,
        ids=ids,
        agree=agree,
        initial=initial,
        steps=steps,
        final={} if line.get("final") is None else _cpus(line, "final", len(ids)),
        delivered_total={
            as_cpu(cpu, len(ids)): _vectors(value, f"delivered_total[{cpu}]")
            for cpu, value in as_object(
                line.get("delivered_total") or {}, "delivered_total"
            ).items()
        },
        first_disagree_step=first_disagree_step,
        open_fields=frozenset(as_strings(line.get("open") or [], "open")),
        note=" ".join(as_strings(_notes(line), "note")),
    )


def _check_x2apic_start(initial: Mapping[int, CpuDelta]) -> None:
    """The guest's start writes these registers, and a WRMSR of a reserved bit is a fault (R15)."""
    for cpu, state in initial.items():
        for name, mask in _X2APIC_START.items():
            value = state.get(name, 0)
            if isinstance(value, int) and value & ~mask:
                raise MalformedError(f"initial[{cpu}]: no x2APIC can hold '{name}' {value:#x}")


def _ids(line: Mapping[str, Any], limit: int) -> tuple[int, ...]:
    count = number_at(line, "cpus", MAX_CPUS)
    ids = line.get("ids", list(range(count)))
    if (
        not isinstance(ids, list)
        or not 1 <= len(ids) == count
        or not all(type(i) is int and 0 <= i < limit for i in ids)
        or len(set(ids)) != count
    ):
        raise MalformedError(f"'ids' are not {count} different APIC ids below {limit:#x}")
    return tuple(ids)


def _notes(line: Mapping[str, Any]) -> list[Any]:
    note = line.get("note") or []
    return [note] if isinstance(note, str) else note


def _step(raw: object, cpus: int) -> Step:
    step = as_object(raw, "a step")
    op = as_enum(Op, step.get("op"), "op")
    operands: dict[str, Any] = {}
    match op:
        case Op.ICR:
            operands = {
                "hi": number_at(step, "hi", MAX_WORD),
                "lo": number_at(step, "lo", MAX_WORD),
            }
        case Op.WRITE:
            operands = {"register": _register(step), "value": number_at(step, "value", MAX_QWORD)}
        case Op.READ:
            operands = {"register": _register(step)}
        case Op.SELF_IPI:
            operands = {"vector": number_at(step, "vector", MAX_QWORD)}
        case Op.MODE:
            if step.get("value") not in ("eoi", "defer"):
                raise MalformedError(f"mode {step.get('value')!r}: neither 'eoi' nor 'defer'")
            operands = {"defer": step["value"] == "defer"}
        case _:
            pass
    result = step.get("result")
    return Step(
        op=op,
        cpu=number_at(step, "cpu", cpus - 1),
        result=None if result is None else number_at(step, "result", MAX_QWORD),
        gp=as_bool(step.get("gp", False), "gp"),
        skipped=_skipped(step.get("skipped", False)),
        held=frozenset(_STEP_EXTRAS & step.keys()),
        cpus=_cpus(step, "cpus", cpus),
        **operands,
    )


def _skipped(value: object) -> bool:
    """True, or the reason in words."""
    return bool(value) if isinstance(value, str) else as_bool(value, "skipped")


def _register(step: Mapping[str, Any]) -> int:
    name = string_at(step, "reg")
    if name not in REGISTER_NAMES:
        raise MalformedError(f"register {name!r} is none of {', '.join(REGISTER_NAMES)}")
    return REGISTER_NAMES[name]


def _cpus(line: Mapping[str, Any], key: str, cpus: int) -> dict[int, CpuDelta]:
    return {
        as_cpu(cpu, cpus): at(f"{key}[{cpu}]", _delta, raw)
        for cpu, raw in as_object(line.get(key), key).items()
    }


def _delta(raw: object) -> CpuDelta:
    delta: dict[str, FieldValue] = {}
    for name, value in as_object(raw, "a CPU").items():
        if name in _WORD_FIELDS:
            delta[name] = as_number(value, name, MAX_WORD)
        elif name in _LIST_FIELDS:
            delta[name] = _vectors(value, name)
        elif name == "responsive":
            delta[name] = as_bool(value, name)
        else:
            raise MalformedError(f"unknown field {name!r}")
    return delta


def _vectors(value: object, name: str) -> tuple[int | str, ...]:
    if not isinstance(value, list):
        raise MalformedError(f"{name}: no list of vectors")
    for vector in value:
        known = vector == "nmi" or (isinstance(vector, str) and vector.startswith("exc"))
        if not known and not (type(vector) is int and 0 <= vector <= MAX_VECTOR):
            raise MalformedError(f"{name}: {vector!r} is no vector")
    return tuple(value)
