"""Turns differences into verdicts: passed, failed, or reported without being scored."""

from collections.abc import Mapping
from dataclasses import dataclass

from mkrpc.conformance.comparison import Comparison, compare, compare_line, compare_listed
from mkrpc.conformance.deviations import UNEXPLAINED
from mkrpc.conformance.linux_deviations import LINUX, explain_linux
from mkrpc.conformance.recording import Agree, ApicScenario, LinuxTest
from mkrpc.conformance.report import AFTER_SCRIPT, Finding, place
from mkrpc.conformance.score import (
    BEFORE_FIRST_STEP,
    Difference,
    Run,
    comparable,
    differences,
    first_in,
)

__all__ = ["LinuxObservation", "Verdict", "finding_of", "judge_apic", "judge_linux"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """``failed`` is None for a scored scenario that passes; ``reported`` what is not scored.

    ``comparisons``: the model beside each engine that ran the scenario. ``unexplained``: those of
    them in which something has no rule.
    """

    scored: bool
    failed: Finding | None = None
    reported: Finding | None = None
    comparisons: tuple[Comparison, ...] = ()
    unexplained: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class LinuxObservation:
    """What the emulated kernel did in one test; fields as those of the recording.

    ``peek`` has one line for each ``peek`` or ``peekself`` of the script, in order.
    """

    cal: tuple[int, ...]
    printk: int
    peek: tuple[str, ...]
    other_dmesg: tuple[str, ...]


def judge_apic(
    scenario: ApicScenario,
    run: Run,
    *,
    traces: Mapping[str, ApicScenario] | None = None,
    engine: str = "",
) -> Verdict:
    """Score one scenario on bare metal, and explain every difference.

    ``traces``: what each engine did by itself. ``engine``: whose trace the scenario itself is, if
    it is one engine's alone.
    """
    comparisons = _comparisons(scenario, run, traces or {}, engine)
    stop: int | None = None
    match scenario.agree:
        case Agree.ALL | Agree.DELIVERY:
            stop = len(scenario.steps) + 1
        case Agree.NO:
            stop = scenario.first_disagree_step
            assert stop is not None, scenario.name
    failed = None
    if stop is not None:
        found = differences(scenario, run)
        first = first_in(found, comparable("", scenario), start=BEFORE_FIRST_STEP, stop=stop)
        failed = _failure(scenario, run, first)
    whole = scenario.agree in (Agree.ALL, Agree.DELIVERY)
    return Verdict(
        scored=stop is not None,
        failed=failed,
        reported=None if whole else _reported(scenario, comparisons),
        comparisons=comparisons,
        unexplained=tuple(
            finding_of(scenario, (each,), [], named=True)
            for each in comparisons
            if each.unexplained
        ),
    )


def _comparisons(
    scenario: ApicScenario, run: Run, traces: Mapping[str, ApicScenario], engine: str
) -> tuple[Comparison, ...]:
    """Beside each engine's own trace; for want of them, beside what the line says of each."""
    own = [compare(name, trace, run) for name, trace in sorted(traces.items())]
    if own:
        return tuple(comparison for comparison in own if comparison.fields)
    if listed := compare_listed(scenario, run):
        return tuple(listed.values())
    if scenario.agree in (Agree.ALL, Agree.DELIVERY, Agree.NO):
        return ()
    engines = [engine] if engine else list(scenario.engines) or [""]
    return tuple(compare(name, scenario, run) for name in engines)


def _failure(scenario: ApicScenario, run: Run, first: Difference | None) -> Finding | None:
    """What a deviation explains fails all the same: its name says where to look."""
    if first is None:
        return None
    departures = compare_line(scenario, run).departures
    cause = next((each for each in departures if each.step == first.step), None)
    return Finding(
        name=scenario.name,
        line=scenario.line,
        step=first.step,
        where=place(first.step, len(scenario.steps)),
        expected=first.expected_text,
        actual=first.actual_text,
        note=scenario.note,
        deviation=UNEXPLAINED if cause is None else cause.name,
        rules=() if cause is None else cause.rules,
    )


def _reported(scenario: ApicScenario, comparisons: tuple[Comparison, ...]) -> Finding:
    """What nobody scores: whom the model agrees with, and what parts it from the others."""
    steps = len(scenario.steps)
    match scenario.agree:
        case Agree.NO:
            assert scenario.first_disagree_step is not None, scenario.name
            status = f"the engines part {_at(scenario.first_disagree_step, steps)}"
        case Agree.UNSTATED:
            status = "not scored: no `agree`"
        case agree:
            status = f"not scored: {agree}"
    words = []
    alike = [each.engine or "the recording" for each in comparisons if not each.departures]
    if not comparisons:
        words.append("no engine's own trace to compare with")
    elif alike:
        words.append(f"the model agrees to the end with {', '.join(alike)}")
    elif not any(each.agrees for each in comparisons):
        words.append("the model agrees with no engine to the end")
    return finding_of(scenario, comparisons, words, status=status)


def _at(step: int, steps: int) -> str:
    where = place(step, steps)
    return f"at {where}" if where.startswith("step") else f"in the {where}"


def finding_of(
    scenario: ApicScenario,
    comparisons: tuple[Comparison, ...],
    words: list[str],
    *,
    status: str = "",
    named: bool = False,
) -> Finding:
    """The earliest departure that says most; the note has ``words`` and all the others.

    An engine is named where others did otherwise, or if it has to be (``named``).
    """
    steps = len(scenario.steps)
    parted = [(each.shown, each) for each in comparisons if each.shown is not None]
    words = [*words, *(text for _, each in parted for text in _texts(each, steps))]
    note = "; ".join(filter(None, [status, *words, scenario.note]))
    agreeing = tuple(each.engine for each in comparisons if each.agrees)
    if not parted:
        return Finding(
            name=scenario.name,
            line=scenario.line,
            status=status,
            note=note,
            agrees_with=agreeing,
        )
    shown, comparison = min(
        parted, key=lambda part: (part[0].deviation is not None, part[0].passing, part[0].step)
    )
    alike = all(each is not None and each.difference == shown.difference for each, _ in parted)
    alone = alike and len(parted) == len(comparisons) and scenario.agree is not Agree.NO
    engine = "" if alone and not named else comparison.engine
    prefix = f"{engine}: " if engine else ""
    return Finding(
        name=scenario.name,
        line=scenario.line,
        step=shown.step,
        where=place(shown.step, steps),
        engine=engine,
        status=status,
        expected=prefix + shown.difference.expected_text,
        actual=shown.difference.actual_text,
        note=note,
        deviation=shown.name,
        rules=shown.rules,
        agrees_with=agreeing,
        parts_from=tuple(each.engine for each in comparisons if not each.agrees),
    )


def _texts(comparison: Comparison, steps: int) -> list[str]:
    """``tcg parts at step 1: cluster-15 (R27)``; what passes is told once."""
    told: dict[str, str] = {}
    in_passing = "differs only in passing" if comparison.agrees else "differs in passing"
    for departure in comparison.departures:
        verb = in_passing if departure.passing else "parts"
        engine = comparison.engine or "the recording"
        told.setdefault(
            departure.name, f"{engine} {verb} {_at(departure.step, steps)}: {departure.text}"
        )
    return list(told.values())


def judge_linux(test: LinuxTest, seen: LinuxObservation) -> Verdict:
    """Score one test of the patched kernel.

    ``cal`` counts where the recording is clean, ``expected`` where it is not; ``printk`` must equal
    the sum of ``expected``. What a CPU was peeked at and other lines of the log are compared, and a
    difference is reported: the law of scoring does not count them.
    """
    unscored = _linux_unscored(test, seen)
    if test.expected is None:
        counts = _linux_differences(seen, counts=test.cal, counts_name="cal", printk=test.printk)
        return Verdict(
            scored=False,
            reported=_linux_finding(
                test, [*counts, *unscored], "not scored: no `expected`", seen=seen
            ),
        )
    counts = _linux_differences(
        seen,
        counts=test.cal if test.clean else test.expected,
        counts_name="cal" if test.clean else "expected",
        printk=sum(test.expected),
    )
    return Verdict(
        scored=True,
        failed=_linux_finding(test, counts, "", seen=seen) if counts else None,
        reported=_linux_finding(test, unscored, "beside the score", seen=seen)
        if unscored
        else None,
    )


def _linux_differences(
    seen: LinuxObservation,
    *,
    counts: tuple[int, ...],
    counts_name: str,
    printk: int,
) -> list[tuple[str, str]]:
    found = []
    if counts != seen.cal:
        found.append((f"{counts_name} = {list(counts)}", f"cal = {list(seen.cal)}"))
    if printk != seen.printk:
        found.append((f"printk = {printk}", f"printk = {seen.printk}"))
    return found


def _linux_unscored(test: LinuxTest, seen: LinuxObservation) -> list[tuple[str, str]]:
    found = []
    if test.peek != seen.peek:
        found.append((f"peek = {list(test.peek)}", f"peek = {list(seen.peek)}"))
    if test.other_dmesg != seen.other_dmesg:
        found.append(
            (f"other_dmesg = {list(test.other_dmesg)}", f"other_dmesg = {list(seen.other_dmesg)}")
        )
    return found


def _linux_finding(
    test: LinuxTest, found: list[tuple[str, str]], why: str, *, seen: LinuxObservation
) -> Finding:
    """The step is the length of the script: counts are taken after it."""
    deviation, rules = explain_linux(test, seen.cal) if found else ("", ())
    agrees = "" if found else "the model agrees"
    note = "; ".join(filter(None, [why, agrees, test.note]))
    return Finding(
        name=test.name,
        line=test.line,
        step=len(test.script) if found else None,
        where=AFTER_SCRIPT if found else "",
        status=why,
        expected="; ".join(expected for expected, _ in found),
        actual="; ".join(actual for _, actual in found),
        note=note,
        deviation=deviation,
        rules=rules,
        agrees_with=() if found else (LINUX,),
        parts_from=(LINUX,) if found else (),
    )
