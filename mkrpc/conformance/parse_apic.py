"""Reads one recorded scenario of a bare-metal guest.

What the line says beyond what is known here is left alone: keys of the line and of a step in
silence, fields of a CPU by name, since they were recorded to be compared (``ignored``).
"""

from collections.abc import Mapping
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
    given,
    list_at,
    number_at,
    string_at,
)
from mkrpc.conformance.parse_linux import MAX_CPUS, MAX_STEPS
from mkrpc.conformance.recording import (
    BANK_FIELDS,
    EVENT_FIELDS,
    LAST_REGISTER,
    REGISTER_FIELDS,
    REGISTER_NAMES,
    Agree,
    ApicMachineMode,
    ApicScenario,
    CpuDelta,
    Disagreement,
    FieldValue,
    Op,
    Step,
)
from mkrpc.x86.icr import BROADCAST, XAPIC_BROADCAST
from mkrpc.x86.irq_vectors import FIRST_LEGAL_VECTOR
from mkrpc.x86.registers import X2APIC_WRITABLE, Register

__all__ = ["apic_scenario"]

_WORD_FIELDS = frozenset((*REGISTER_FIELDS, "boots"))
_LIST_FIELDS = frozenset((*BANK_FIELDS, *EVENT_FIELDS))
_CPU_FIELDS = frozenset((*_WORD_FIELDS, *_LIST_FIELDS, "if", "responsive"))
_STEP_FIELDS = frozenset({"result", "gp", "skipped"})
_OPEN_FIELDS = frozenset((*_CPU_FIELDS, *_STEP_FIELDS, "icr", "delivered_total"))
_EXCEPTIONS = frozenset(f"exc{vector}" for vector in range(FIRST_LEGAL_VECTOR))
_X2APIC_START = {
    "svr": X2APIC_WRITABLE[Register.SVR],
    "tpr": X2APIC_WRITABLE[Register.TPR],
}


def apic_scenario(line: Mapping[str, Any], number: int) -> ApicScenario:
    """The scenario of line ``number`` of a file; raises MalformedError."""
    mode = as_enum(ApicMachineMode, given(line, "mode"), "mode")
    x2apic = mode is ApicMachineMode.X2APIC
    ids = _ids(line, BROADCAST if x2apic else XAPIC_BROADCAST)
    raw_steps = list_at(line, "steps")
    if len(raw_steps) > MAX_STEPS:
        raise MalformedError(f"{len(raw_steps)} steps, at most {MAX_STEPS}")
    steps = tuple(
        at(f"step {index}", _step, raw, len(ids), MAX_QWORD if x2apic else MAX_WORD)
        for index, raw in enumerate(raw_steps)
    )
    agree = _agree(line)
    initial = _cpus(line, "initial", len(ids))
    if list(initial) != list(range(len(ids))):
        raise MalformedError("'initial' does not name every CPU")
    if x2apic:
        _check_x2apic_start(initial)
    return ApicScenario(
        name=string_at(line, "name"),
        line=number,
        mode=mode,
        ids=ids,
        agree=agree,
        initial=initial,
        steps=steps,
        final={} if line.get("final") is None else _cpus(line, "final", len(ids)),
        delivered_total=_totals(line, len(ids)),
        first_disagree_step=_first_disagree_step(line, agree, len(steps)),
        open_fields=_open_fields(line),
        note=" ".join(as_strings(_notes(line), "note")),
        engines=as_strings(line.get("engines") or [], "engines"),
        disagreements=at("disagree", _disagreements, line, len(ids)),
        ignored=_ignored(line, raw_steps),
    )


def _check_x2apic_start(initial: Mapping[int, CpuDelta]) -> None:
    """The guest's start writes these registers, and a WRMSR of a reserved bit is a fault (R15)."""
    for cpu, state in initial.items():
        for name, mask in _X2APIC_START.items():
            value = state.get(name, 0)
            if isinstance(value, int) and value & ~mask:
                raise MalformedError(f"initial[{cpu}]: no x2APIC can hold '{name}' {value:#x}")


def _agree(line: Mapping[str, Any]) -> Agree:
    if not line.get("agree"):
        return Agree.UNSTATED
    return as_enum(Agree, line["agree"], "agree", but=(Agree.UNSTATED,))


def _open_fields(line: Mapping[str, Any]) -> frozenset[str]:
    """A name that is no field would open nothing, and nobody would see it."""
    names = as_strings(line.get("open") or [], "open")
    for name in names:
        if name not in _OPEN_FIELDS:
            known = ", ".join(sorted(_OPEN_FIELDS))
            raise MalformedError(f"'open' has {name!r}, which is none of {known}")
    return frozenset(names)


def _ids(line: Mapping[str, Any], limit: int) -> tuple[int, ...]:
    count = number_at(line, "cpus", MAX_CPUS, least=1)
    ids = line.get("ids", list(range(count)))
    if (
        not isinstance(ids, list)
        or len(ids) != count
        or not all(type(i) is int and 0 <= i < limit for i in ids)
        or len(set(ids)) != count
    ):
        raise MalformedError(f"'ids' are not {count} different APIC ids below {limit} ({limit:#x})")
    return tuple(ids)


def _first_disagree_step(line: Mapping[str, Any], agree: Agree, steps: int) -> int | None:
    if line.get("first_disagree_step") is not None:
        return number_at(line, "first_disagree_step", steps)
    if agree is Agree.NO:
        raise MalformedError("agree 'no' without first_disagree_step")
    return None


def _notes(line: Mapping[str, Any]) -> list[Any]:
    note = line.get("note") or []
    return [note] if isinstance(note, str) else note


def _totals(line: Mapping[str, Any], cpus: int) -> dict[int, tuple[int | str, ...]]:
    totals = as_object(line.get("delivered_total") or {}, "delivered_total")
    return {
        as_cpu(cpu, cpus): _vectors(value, f"delivered_total[{cpu}]")
        for cpu, value in totals.items()
    }


def _disagreements(line: Mapping[str, Any], cpus: int) -> tuple[Disagreement, ...]:
    """Those in fields that are known here. Of a list that was cut short, the CPU at its end is
    left out: it is not said in what else the engines part there."""
    entries = [
        as_object(raw, "a disagreement")
        for raw in (list_at(line, "disagree") if line.get("disagree") else [])
    ]
    count = line.get("disagree_count")
    if entries and type(count) is int and count > len(entries):
        last = [entries[-1].get(key) for key in ("step", "cpu")]
        entries = [e for e in entries if [e.get(key) for key in ("step", "cpu")] != last]
    found = []
    for entry in entries:
        field = string_at(entry, "field")
        if field not in _CPU_FIELDS | _STEP_FIELDS:
            continue
        of_cpu = field in _CPU_FIELDS
        read = _field if of_cpu else _step_field
        values = as_object(given(entry, "values"), "values")
        found.append(
            Disagreement(
                step=number_at(entry, "step", MAX_STEPS),
                cpu=number_at(entry, "cpu", cpus - 1) if of_cpu else None,
                field=field,
                values={name: read(field, v) for name, v in values.items() if v is not None},
            )
        )
    return tuple(found)


def _step_field(name: str, value: object) -> FieldValue:
    return as_number(value, name, MAX_QWORD) if name == "result" else _skipped(value, name)


def _step(raw: object, cpus: int, most: int) -> Step:
    """``most``: the largest value that a register of this mode can be written with."""
    step = as_object(raw, "a step")
    op = as_enum(Op, given(step, "op"), "op")
    operands: dict[str, Any] = {}
    match op:
        case Op.ICR:
            operands = {
                "hi": number_at(step, "hi", MAX_WORD),
                "lo": number_at(step, "lo", MAX_WORD),
            }
        case Op.WRITE:
            operands = {"register": _register(step), "value": number_at(step, "value", most)}
        case Op.READ:
            operands = {"register": _register(step)}
        case Op.SELF_IPI:
            operands = {"vector": number_at(step, "vector", MAX_QWORD)}
        case Op.MODE:
            if given(step, "value") not in ("eoi", "defer"):
                raise MalformedError(f"mode {step['value']!r}: neither 'eoi' nor 'defer'")
            operands = {"defer": step["value"] == "defer"}
        case _:
            pass
    held = {name: step[name] for name in _STEP_FIELDS if step.get(name) is not None}
    return Step(
        op=op,
        cpu=number_at(step, "cpu", cpus - 1),
        result=number_at(step, "result", MAX_QWORD) if "result" in held else None,
        gp=as_bool(held.get("gp", False), "gp"),
        skipped=_skipped(held.get("skipped", False), "skipped"),
        held=frozenset(held),
        cpus=_cpus(step, "cpus", cpus) if step.get("cpus") is not None else {},
        **operands,
    )


def _skipped(value: object, name: str) -> bool:
    """True, or the reason in words."""
    return bool(value) if isinstance(value, str) else as_bool(value, name)


def _register(step: Mapping[str, Any]) -> int:
    """By name, or by offset: a number divisible by 16."""
    register = step.get("reg")
    if type(register) is int:
        if not 0 <= register <= LAST_REGISTER or register & 0xF:
            raise MalformedError(
                f"'reg' is {register} ({register:#x}), not a multiple of 16 from 0 to "
                f"{LAST_REGISTER} ({LAST_REGISTER:#x})"
            )
        return register
    name = string_at(step, "reg")
    if name.lower() not in REGISTER_NAMES:
        raise MalformedError(f"register {name!r} is none of {', '.join(REGISTER_NAMES)}")
    return REGISTER_NAMES[name.lower()]


def _cpus(line: Mapping[str, Any], key: str, cpus: int) -> dict[int, CpuDelta]:
    """By CPU index, ascending, whatever the order in the line."""
    states = as_object(given(line, key), key)
    read = {as_cpu(cpu, cpus): at(f"{key}[{cpu}]", _delta, raw) for cpu, raw in states.items()}
    return dict(sorted(read.items()))


def _delta(raw: object) -> CpuDelta:
    fields = as_object(raw, "a CPU")
    return {name: _field(name, value) for name, value in fields.items() if name in _CPU_FIELDS}


def _field(name: str, value: object) -> FieldValue:
    if name in _WORD_FIELDS:
        return as_number(value, name, MAX_WORD)
    if name == "responsive":
        return as_bool(value, name)
    if name == "if":
        return as_number(int(value) if isinstance(value, bool) else value, name, 1)
    if name in BANK_FIELDS:
        return _bank(value, name)
    return _vectors(value, name)


def _bank(value: object, name: str) -> tuple[int, ...]:
    """A set of bits, whatever the order in which it was listed."""
    if not isinstance(value, list):
        raise MalformedError(f"{name}: no list of vectors")
    return tuple(sorted({as_number(vector, name, MAX_VECTOR) for vector in value}))


def _vectors(value: object, name: str) -> tuple[int | str, ...]:
    if not isinstance(value, list):
        raise MalformedError(f"{name}: no list of vectors")
    for vector in value:
        known = isinstance(vector, str) and (vector == "nmi" or vector in _EXCEPTIONS)
        if not known and not (type(vector) is int and 0 <= vector <= MAX_VECTOR):
            raise MalformedError(f"{name}: {vector!r} is no vector")
    return tuple(value)


def _ignored(line: Mapping[str, Any], steps: list[Any]) -> frozenset[str]:
    """The fields of a CPU that no comparison knows, wherever in the line they stand."""
    states = [line["initial"], line.get("final") or {}, *(step.get("cpus") or {} for step in steps)]
    found = {name for cpus in states for state in cpus.values() for name in state}
    return frozenset(found - _CPU_FIELDS)
