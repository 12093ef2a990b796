"""Turns differences into verdicts: passed, failed, or reported without being scored."""

from collections.abc import Mapping
from dataclasses import dataclass

from mkrpc.conformance.recording import Agree, ApicScenario, LinuxTest
from mkrpc.conformance.report import Finding
from mkrpc.conformance.score import (
    BEFORE_FIRST_STEP,
    Difference,
    Run,
    comparable,
    differences,
    engine_differences,
    first_in,
)

__all__ = ["LinuxObservation", "Verdict", "judge_apic", "judge_linux"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """``failed`` is None for a scored scenario that passes; ``reported`` what is not scored."""

    scored: bool
    failed: Finding | None = None
    reported: Finding | None = None


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
    """Score one scenario on bare metal.

    ``traces``: what each engine did by itself, for a scenario on which they disagree. ``engine``:
    whose trace the scenario itself is, if it is one engine's alone.
    """
    end = len(scenario.steps) + 1
    match scenario.agree:
        case Agree.ALL | Agree.DELIVERY:
            return Verdict(
                scored=True, failed=_finding(scenario, next(differences(scenario, run), None))
            )
        case Agree.NO:
            start = scenario.first_disagree_step
            assert start is not None, scenario.name
            fields = comparable("", scenario)
            first = first_in(
                differences(scenario, run), fields, start=BEFORE_FIRST_STEP, stop=start
            )
            return Verdict(
                scored=True,
                failed=_finding(scenario, first),
                reported=_disagreement(scenario, run, traces or {}, start),
            )
        case _:
            fields = comparable(engine, scenario)
            first = first_in(differences(scenario, run), fields, start=BEFORE_FIRST_STEP, stop=end)
            return Verdict(scored=False, reported=_reported(scenario, run, first, fields))


def _finding(
    scenario: ApicScenario, difference: Difference | None, note: str = ""
) -> Finding | None:
    if difference is None:
        return None
    return Finding(
        name=scenario.name,
        line=scenario.line,
        step=difference.step,
        expected=difference.expected_text,
        actual=difference.actual_text,
        note=note or scenario.note,
    )


def _reported(
    scenario: ApicScenario, run: Run, first: Difference | None, fields: frozenset[str]
) -> Finding:
    """A scenario that nobody scores, with all the fields that differ anywhere in it."""
    differing = {difference.field for difference in differences(scenario, run)}
    words = [f"not scored ({scenario.agree})"]
    if shown := sorted(differing & fields):
        words.append(f"differs in {', '.join(shown)}")
    elif fields:
        words.append("the model agrees")
    if hidden := sorted(differing - fields):
        words.append(f"not comparable in {', '.join(hidden)}")
    note = "; ".join([*words, *filter(None, [scenario.note])])
    return _finding(scenario, first, note) or Finding(
        name=scenario.name, line=scenario.line, note=note
    )


def _disagreement(
    scenario: ApicScenario, run: Run, traces: Mapping[str, ApicScenario], start: int
) -> Finding:
    """Where the engines part: with which of them the model agrees to the end.

    Expected is what that engine did with which the model stays together longest of those that it
    parts from; the note names all.
    """
    by_engine = engine_differences(traces, run, start)
    agrees = [engine for engine, difference in by_engine.items() if difference is None]
    differs = {engine: difference for engine, difference in by_engine.items() if difference}
    if not by_engine:
        verdict = "no engine's own trace to compare with"
    elif agrees:
        verdict = f"the model agrees to the end with {', '.join(agrees)}"
    else:
        verdict = "the model agrees with no engine to the end"
    parts = [
        f"{engine} parts at step {difference.step} ({difference.expected_text})"
        for engine, difference in differs.items()
    ]
    note = "; ".join([verdict, *parts, *filter(None, [scenario.note])])
    if not differs:
        return Finding(name=scenario.name, line=scenario.line, step=start, note=note)
    last = max(differs, key=lambda engine: differs[engine].step)
    return Finding(
        name=scenario.name,
        line=scenario.line,
        step=differs[last].step,
        expected=f"{last}: {differs[last].expected_text}",
        actual=differs[last].actual_text,
        note=note,
    )


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
            reported=_linux_finding(test, [*counts, *unscored], "not scored (no expectation)"),
        )
    counts = _linux_differences(
        seen,
        counts=test.cal if test.clean else test.expected,
        counts_name="cal" if test.clean else "expected",
        printk=sum(test.expected),
    )
    return Verdict(
        scored=True,
        failed=_linux_finding(test, counts, "") if counts else None,
        reported=_linux_finding(test, unscored, "beside the score") if unscored else None,
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


def _linux_finding(test: LinuxTest, found: list[tuple[str, str]], why: str) -> Finding:
    """The step is the length of the script: counts are taken after it."""
    if not found:
        why = f"{why}; the model agrees"
    note = "; ".join(filter(None, [why, test.note]))
    return Finding(
        name=test.name,
        line=test.line,
        step=len(test.script) if found else None,
        expected="; ".join(expected for expected, _ in found),
        actual="; ".join(actual for _, actual in found),
        note=note,
    )
