"""Reading recordings: what is in a line, and what is said about a line that is wrong."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from mkrpc.conformance.apic_guest import play
from mkrpc.conformance.parse import read_recording
from mkrpc.conformance.recording import (
    REGISTER_NAMES,
    Agree,
    ApicMachineMode,
    Line,
    LinuxApic,
    Op,
    Verb,
)
from mkrpc.errors import InvalidArgumentError

STATE = {"id": 0, "tpr": 0, "svr": 0x1FF, "isr": [], "irr": [], "if": 1, "boots": 0}


def apic_line(**changes: Any) -> dict[str, Any]:
    step = {"op": "nop", "cpu": 0, "cpus": {}}
    line = {
        "name": "flat/one",
        "cpus": 2,
        "mode": "flat",
        "ids": [0, 1],
        "agree": "all",
        "initial": {"0": STATE, "1": STATE},
        "steps": [step],
    }
    return {**line, **changes}


def linux_line(**changes: Any) -> dict[str, Any]:
    line = {
        "name": "one",
        "sender": 0,
        "script": ["one 1"],
        "cal": [0, 1],
        "printk": 1,
        "expected": [0, 1],
        "clean": True,
        "peek": [],
        "apic": "apic=physical flat",
        "other_dmesg": [],
    }
    return {**line, **changes}


def write(path: Path, *lines: object) -> Path:
    path.write_text("\n".join(json.dumps(line) for line in lines) + "\n")
    return path


def test_an_apic_line_becomes_typed_steps(tmp_path: Path) -> None:
    steps = [
        {"op": "icr", "cpu": 0, "hi": 1, "lo": 0x40EA, "cpus": {"1": {"delivered": [0xEA, "nmi"]}}},
        {"op": "wr", "cpu": 1, "reg": "tpr", "value": 0x20, "cpus": {}, "gp": True},
        {"op": "rd", "cpu": 1, "reg": "ppr", "result": 7, "cpus": {}},
        {"op": "mode", "cpu": 1, "value": "defer", "cpus": {}},
    ]
    line = apic_line(steps=steps, agree="no", first_disagree_step=2, open=["gp"], note=["a", "b"])
    (scenario,) = read_recording(write(tmp_path / "x.jsonl", line)).apic
    assert (scenario.agree, scenario.mode) == (Agree.NO, ApicMachineMode.FLAT)
    assert scenario.first_disagree_step == 2
    assert scenario.open_fields == {"gp"}
    assert scenario.note == "a b"
    icr, wr, rd, mode = scenario.steps
    assert (icr.op, icr.hi, icr.lo, icr.held) == (Op.ICR, 1, 0x40EA, frozenset())
    assert icr.cpus[1]["delivered"] == (0xEA, "nmi")
    assert (wr.register, wr.value, wr.gp, wr.held) == (0x80, 0x20, True, frozenset({"gp"}))
    assert (rd.register, rd.result) == (0xA0, 7)
    assert mode.defer


def test_a_line_without_agree_is_one_engines_trace(tmp_path: Path) -> None:
    line = apic_line()
    del line["agree"]
    (scenario,) = read_recording(write(tmp_path / "x.jsonl", line)).apic
    assert scenario.agree is Agree.UNSTATED
    assert not scenario.agree.scored


@pytest.mark.parametrize(
    ("value", "skipped"), [(True, True), (False, False), ("cpu unresponsive", True)]
)
def test_a_skipped_step_says_so_or_says_why(tmp_path: Path, value: object, skipped: bool) -> None:
    line = apic_line(steps=[{"op": "nop", "cpu": 0, "cpus": {}, "skipped": value}])
    (scenario,) = read_recording(write(tmp_path / "x.jsonl", line)).apic
    assert scenario.steps[0].skipped is skipped


@pytest.mark.parametrize(
    ("name", "offset"),
    [("id", 0x20), ("esr", 0x280), ("lvtt", 0x320), ("lvt_error", 0x370), ("irr7", 0x270)],
)
def test_registers_go_by_name(tmp_path: Path, name: str, offset: int) -> None:
    line = apic_line(steps=[{"op": "rd", "cpu": 0, "reg": name, "cpus": {}}])
    (scenario,) = read_recording(write(tmp_path / "x.jsonl", line)).apic
    assert scenario.steps[0].register == offset


@pytest.mark.parametrize("mode", ["flat", "x2apic"])
@pytest.mark.parametrize("name", sorted(REGISTER_NAMES))
def test_every_register_can_be_named_in_either_mode(tmp_path: Path, mode: str, name: str) -> None:
    """Whether the access faults is the machine's business: it is played, never refused."""
    steps = [
        {"op": op, "cpu": 0, "reg": reg, "value": 0, "cpus": {}}
        for op in ("wr", "rd")
        for reg in (name, name.upper(), REGISTER_NAMES[name])
    ]
    states = {cpu: {"tpr": 0, "svr": 0x1FF} for cpu in ("0", "1")}
    line = apic_line(mode=mode, steps=steps, initial=states)
    (scenario,) = read_recording(write(tmp_path / "x.jsonl", line)).apic
    assert {step.register for step in scenario.steps} == {REGISTER_NAMES[name]}
    assert len(play(scenario).steps) == len(steps)


def test_the_order_of_cpus_and_of_vectors_in_a_bank_means_nothing(tmp_path: Path) -> None:
    states = {str(cpu): {**STATE, "id": cpu, "irr": [0x51, 0x41]} for cpu in reversed(range(11))}
    line = apic_line(cpus=11, ids=list(range(11)), initial=states)
    (scenario,) = read_recording(write(tmp_path / "x.jsonl", line)).apic
    assert [state["id"] for state in scenario.initial.values()] == list(range(11))
    assert scenario.initial[0]["irr"] == (0x41, 0x51)


def test_what_is_not_known_is_left_alone(tmp_path: Path) -> None:
    step = {"op": "rd", "cpu": 0, "reg": "esr", "gp": None, "result": None, "took_us": 3}
    state = {**STATE, "rip": 7}
    line = apic_line(steps=[step], initial={"0": state, "1": STATE}, hardware="mine", agree=None)
    (scenario,) = read_recording(write(tmp_path / "x.jsonl", line)).apic
    assert scenario.ignored == {"rip"}
    assert scenario.agree is Agree.UNSTATED
    assert (scenario.steps[0].held, dict(scenario.steps[0].cpus)) == (frozenset(), {})


@pytest.mark.parametrize(("count", "steps"), [(None, [0, 0, 1, 1]), (4, [0, 0, 1, 1]), (5, [0, 0])])
def test_a_list_of_disagreements_that_was_cut_short_is_cut_at_a_cpu(
    tmp_path: Path, count: int | None, steps: list[int]
) -> None:
    listed = [
        {"step": step, "cpu": 1, "field": field, "values": {"bochs": [1], "tcg": []}}
        for step in (0, 1)
        for field in ("irr", "isr")
    ]
    unknown = {"step": 0, "cpu": 0, "field": "rip", "values": {"bochs": "x"}}
    line = apic_line(disagree=[unknown, *listed], disagree_count=count and count + 1)
    (scenario,) = read_recording(write(tmp_path / "x.jsonl", line)).apic
    assert [entry.step for entry in scenario.disagreements] == steps
    assert scenario.disagreements[0].values == {"bochs": (1,), "tcg": ()}


def test_gzip_and_plain_text_read_the_same(tmp_path: Path) -> None:
    plain = write(tmp_path / "x.jsonl", apic_line(), apic_line(name="two"))
    packed = tmp_path / "y.jsonl.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert read_recording(plain) == read_recording(packed)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("one 1", Line(verb=Verb.ONE, cpu=1)),
        ("one 1 10", Line(verb=Verb.ONE, cpu=1, repeat=10)),
        ("vec 1 fd", Line(verb=Verb.VEC, cpu=1, vector=0xFD)),
        ("mask 10 2", Line(verb=Verb.MASK, mask=0x10, repeat=2)),
        ("maskbutself f", Line(verb=Verb.MASK_BUT_SELF, mask=0xF)),
        ("allbutself", Line(verb=Verb.ALL_BUT_SELF)),
        ("all 3", Line(verb=Verb.ALL, repeat=3)),
        ("self 5", Line(verb=Verb.SELF, repeat=5)),
        ("raw ffffffff 48ea", Line(verb=Verb.RAW, high=0xFFFFFFFF, low=0x48EA)),
        ("cli", Line(verb=Verb.CLI)),
        ("sti", Line(verb=Verb.STI)),
        ("hold 1", Line(verb=Verb.HOLD, cpu=1)),
        ("rel 1", Line(verb=Verb.RELEASE, cpu=1)),
        ("peek 1 ea", Line(verb=Verb.PEEK, cpu=1, vector=0xEA)),
        ("peekself ea", Line(verb=Verb.PEEK_SELF, vector=0xEA)),
        ("delay 20", Line(verb=Verb.DELAY, delay_ms=20)),
    ],
)
def test_every_verb_of_a_linux_script(tmp_path: Path, text: str, line: Line) -> None:
    (test,) = read_recording(write(tmp_path / "x.jsonl", linux_line(script=[text]))).linux
    assert test.script == (line,)
    assert test.apic is LinuxApic.PHYSICAL_FLAT


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ([], "a scenario is no JSON object"),
        ({"name": "x"}, "neither 'steps' nor 'script'"),
        (apic_line(name=""), "'name' is empty or no text"),
        (apic_line(name=None), "'name' is missing"),
        (apic_line(mode=None), "'mode' is missing"),
        (apic_line(initial=None), "'initial' is missing"),
        (apic_line(cpus=None), "'cpus' is missing"),
        (apic_line(mode="weird"), "mode 'weird' is none of"),
        (apic_line(agree="perhaps"), "agree 'perhaps' is none of"),
        (apic_line(agree="unstated"), "agree 'unstated' is none of"),
        (apic_line(open=["nonsense"]), "'open' has 'nonsense', which is none of boots, "),
        (apic_line(open=["gp", "irq"]), "'open' has 'irq'"),
        (apic_line(agree="no"), "agree 'no' without first_disagree_step"),
        (apic_line(agree="no", first_disagree_step=2), "'first_disagree_step' is 2"),
        (apic_line(ids=[0, 0]), "'ids' are not 2 different APIC ids"),
        (apic_line(ids=[0, 0xFF]), "'ids' are not 2 different APIC ids below 255 (0xff)"),
        (apic_line(mode="x2apic", ids=[0, 0xFFFFFFFF]), "APIC ids below 4294967295 (0xffffffff)"),
        (apic_line(cpus=True), "'cpus' is True"),
        (apic_line(cpus=65), "'cpus' is 65, not a number from 1 to 64"),
        (apic_line(cpus=0), "'cpus' is 0, not a number from 1 to 64"),
        (apic_line(initial={"0": STATE}), "'initial' does not name every CPU"),
        (apic_line(steps=[{"op": "jump", "cpu": 0, "cpus": {}}]), "step 0: op 'jump'"),
        (apic_line(steps=[{"op": "nop", "cpu": 2, "cpus": {}}]), "step 0: 'cpu' is 2"),
        (apic_line(steps=[{"op": "nop", "cpu": 0, "cpus": {"5": {}}}]), "no CPU '5'"),
        (
            apic_line(steps=[{"op": "rd", "cpu": 0, "reg": "pc", "cpus": {}}]),
            "step 0: register 'pc' is none of",
        ),
        (
            apic_line(steps=[{"op": "icr", "cpu": 0, "hi": 1 << 32, "lo": 0, "cpus": {}}]),
            "step 0: 'hi' is 4294967296, not a number from 0 to 4294967295 (0xffffffff)",
        ),
        (apic_line(steps=[{"op": "icr", "cpu": 0, "lo": 0}]), "step 0: 'hi' is missing"),
        (apic_line(steps=[{"cpu": 0}]), "step 0: 'op' is missing"),
        (apic_line(steps=[{"op": "mode", "cpu": 0}]), "step 0: 'value' is missing"),
        (
            apic_line(steps=[{"op": "mode", "cpu": 0, "value": "x", "cpus": {}}]),
            "neither 'eoi' nor 'defer'",
        ),
        (
            apic_line(steps=[{"op": "nop", "cpu": 0, "cpus": {"0": {"isr": [256]}}}]),
            "'isr' is 256, not a number from 0 to 255 (0xff)",
        ),
        (
            apic_line(steps=[{"op": "nop", "cpu": 0, "cpus": {"0": {"delivered": ["exc16"]}}}]),
            "delivered: 'exc16' is no vector",
        ),
        (
            apic_line(steps=[{"op": "nop", "cpu": 0, "cpus": {"0": {"delivered": [[]]}}}]),
            "delivered: [] is no vector",
        ),
        (
            apic_line(steps=[{"op": "nop", "cpu": 0, "cpus": {"00": {}}}]),
            "there is no CPU '00' among 2",
        ),
        (
            apic_line(steps=[{"op": "wr", "cpu": 0, "reg": "tpr", "value": 1 << 32}]),
            "step 0: 'value' is 4294967296",
        ),
        (
            apic_line(steps=[{"op": "rd", "cpu": 0, "reg": 0x3F8}]),
            "step 0: 'reg' is 1016 (0x3f8), not a multiple of 16 from 0 to 1008",
        ),
        (
            apic_line(steps=[{"op": "rd", "cpu": 0, "reg": 0x400}]),
            "step 0: 'reg' is 1024 (0x400), not a multiple",
        ),
        (apic_line(initial={"0": {**STATE, "if": 2}, "1": STATE}), "'if' is 2"),
        (apic_line(disagree=[{"step": 0, "field": "gp"}]), "disagree: 'values' is missing"),
        (apic_line(disagree=[{"field": "irr", "values": {}}]), "disagree: 'step' is missing"),
        (
            apic_line(disagree=[{"step": 0, "field": "irr", "values": {}}]),
            "disagree: 'cpu' is missing",
        ),
        (linux_line(sender=2), "'sender' is 2"),
        (linux_line(expected=[1]), "'expected' and 'cal' differ in length"),
        (linux_line(cal=[]), "'cal' names 0 CPUs"),
        (linux_line(clean="yes"), "'clean' is 'yes'"),
        (linux_line(apic="apic=bigsmp"), "apic 'apic=bigsmp' is none of"),
        (linux_line(script=["shout 1"]), "verb 'shout' is none of"),
        (linux_line(script=["one"]), "0 operands, one takes 1"),
        (linux_line(script=["one 1", ""]), "'': a line without a verb"),
        (linux_line(script=["  "]), "a line without a verb"),
        (
            apic_line(mode="x2apic", initial={"0": STATE, "1": {**STATE, "svr": 0x11FF}}),
            "initial[1]: no x2APIC can hold 'svr' 0x11ff",
        ),
        (
            apic_line(mode="x2apic", initial={"0": {**STATE, "tpr": 0x100}, "1": STATE}),
            "initial[0]: no x2APIC can hold 'tpr' 0x100",
        ),
        (linux_line(script=["vec 1 fd 3"]), "3 operands, vec takes 2"),
        (linux_line(script=["one 2"]), "there is no CPU '2'"),
        (linux_line(script=["vec 1 100"]), "'vector' is 0x100, not a number from 0x0 to 0xff"),
        (linux_line(script=["one 1 100001"]), "'repeat' is 100001, not a number from 0 to 100000"),
        (linux_line(script=["delay 3600001"]), "3600001, not a number from 0 to 3600000"),
        (linux_line(cal=None), "'cal' is missing"),
        (linux_line(script=None, steps=None), "'mode' is missing"),
        (linux_line(clean=None), "'clean' is missing"),
        (linux_line(script=["mask xyz"]), "mask 'xyz' is no number to base 16"),
        (linux_line(script=["raw 100000000 ea"]), "'high' is 0x100000000"),
    ],
)
def test_a_malformed_line_is_named_with_file_and_number(
    tmp_path: Path, line: object, complaint: str
) -> None:
    good = linux_line() if "script" in str(line) else apic_line()
    path = write(tmp_path / "bad.jsonl", good, line)
    with pytest.raises(InvalidArgumentError) as caught:
        read_recording(path)
    assert str(caught.value).startswith(f"{path}:2: ")
    assert complaint in str(caught.value)


def test_what_is_no_json_is_named_too(tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text(json.dumps(apic_line()) + "\n\n{oops\n")
    with pytest.raises(InvalidArgumentError, match=r"bad\.jsonl:3: no JSON: "):
        read_recording(path)


def test_both_kinds_in_one_file_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "x.jsonl", apic_line(), linux_line())
    with pytest.raises(InvalidArgumentError, match="scenarios of both kinds"):
        read_recording(path)


def test_the_tests_of_a_linux_file_ran_in_one_boot(tmp_path: Path) -> None:
    path = write(tmp_path / "x.jsonl", linux_line(), linux_line(cal=[0], expected=[0], script=[]))
    with pytest.raises(InvalidArgumentError, match=r":2: another number of CPUs"):
        read_recording(path)


def test_what_agree_can_be_is_listed_without_its_absence(tmp_path: Path) -> None:
    path = write(tmp_path / "x.jsonl", apic_line(agree="perhaps"))
    with pytest.raises(InvalidArgumentError) as caught:
        read_recording(path)
    assert "'delivery'" in str(caught.value)
    assert "unstated" not in str(caught.value)


def test_every_field_that_can_differ_can_be_open(tmp_path: Path) -> None:
    names = ["icr", "icr_lo", "gp", "result", "skipped", "delivered_total", "responsive", "irr"]
    path = write(tmp_path / "x.jsonl", apic_line(open=names))
    (scenario,) = read_recording(path).apic
    assert scenario.open_fields == set(names)
