"""The law of scoring for tests of the patched kernel (README of the recordings)."""

from dataclasses import replace
from typing import Any

import pytest

from mkrpc.conformance.judge import LinuxObservation, judge_linux
from mkrpc.conformance.recording import Line, LinuxApic, LinuxTest, Verb


def linux(
    *,
    cal: tuple[int, ...] = (0, 1),
    expected: tuple[int, ...] | None = (0, 1),
    clean: bool = True,
    printk: int = 1,
) -> LinuxTest:
    return LinuxTest(
        name="one",
        line=3,
        sender=0,
        script=(),
        cal=cal,
        printk=printk,
        expected=expected,
        clean=clean,
        peek=("peek cpu=1 vec=ea irr=1 isr=0 ppr=10",),
        apic=LinuxApic.PHYSICAL_FLAT,
        other_dmesg=(),
        note="",
    )


def kernel(cal: tuple[int, ...] = (0, 1), printk: int = 1, ppr: str = "10") -> LinuxObservation:
    peek = f"peek cpu=1 vec=ea irr=1 isr=0 ppr={ppr}"
    return LinuxObservation(cal=cal, printk=printk, peek=(peek,), other_dmesg=())


@pytest.mark.parametrize(
    ("test", "seen_by_model", "passes"),
    [
        (linux(), kernel(), True),
        (linux(), kernel(cal=(0, 2)), False),
        (linux(), kernel(printk=2), False),
        # Where background calls fell into the window, what the test expects counts.
        (linux(cal=(1, 1), clean=False), kernel(), True),
        (linux(cal=(1, 1), clean=False), kernel(cal=(1, 1)), False),
        # Clean: what was measured counts, and printk is what the test expects.
        (linux(cal=(0, 2), expected=(0, 1)), kernel(cal=(0, 2)), True),
        (linux(expected=(0, 2), printk=1), kernel(), False),
        (linux(expected=(0, 2), printk=1), kernel(printk=2), True),
    ],
)
def test_linux_counts_are_scored(
    test: LinuxTest, seen_by_model: LinuxObservation, passes: bool
) -> None:
    verdict = judge_linux(test, seen_by_model)
    assert verdict.scored
    assert (verdict.failed is None) is passes
    assert verdict.reported is None


def test_a_linux_test_without_expectation_is_reported() -> None:
    verdict = judge_linux(linux(expected=None), kernel(cal=(0, 7)))
    assert not verdict.scored
    assert verdict.failed is None
    assert verdict.reported is not None
    assert verdict.reported.expected == "cal = [0, 1]"
    assert verdict.reported.actual == "cal = [0, 7]"


def test_a_peek_that_differs_is_reported_beside_the_score() -> None:
    verdict = judge_linux(linux(), kernel(ppr="0"))
    assert verdict.scored
    assert verdict.failed is None
    assert verdict.reported is not None
    assert "ppr=10" in verdict.reported.expected
    assert "ppr=0" in verdict.reported.actual


def script(*lines: Line, cal: tuple[int, ...], **changes: Any) -> LinuxTest:
    return replace(linux(cal=cal, expected=None), script=lines, **changes)


RAW_FF = Line(verb=Verb.RAW, high=0xFF, low=0x8EA)
TWICE = Line(verb=Verb.ALL_BUT_SELF, repeat=2)
ONCE = Line(verb=Verb.ALL_BUT_SELF)


@pytest.mark.parametrize(
    ("test", "cal", "name", "rules"),
    [
        (script(RAW_FF, cal=(0, 0)), (1, 1), "logical-broadcast-ldr-0", ("R27",)),
        (script(TWICE, cal=(0, 1)), (0, 2), "burst-coalesced", ("R42",)),
        (script(ONCE, cal=(0, 3), clean=False), (0, 1), "background-calls", ()),
        # By chance: one was lost, one came from nowhere, and x2APIC has another broadcast.
        (script(ONCE, cal=(0, 0)), (0, 1), "unexplained", ()),
        (script(TWICE, cal=(0, 0)), (0, 2), "unexplained", ()),
        (script(TWICE, cal=(0, 3)), (0, 2), "unexplained", ()),
        (script(ONCE, cal=(0, 3)), (0, 1), "unexplained", ()),
        (
            script(RAW_FF, cal=(0, 0), apic=LinuxApic.X2APIC_CLUSTER),
            (1, 1),
            "unexplained",
            (),
        ),
        (script(TWICE, cal=(0, 1), printk=9), (0, 1), "unexplained", ()),
    ],
)
def test_a_count_that_differs_is_explained_by_the_script(
    test: LinuxTest, cal: tuple[int, ...], name: str, rules: tuple[str, ...]
) -> None:
    reported = judge_linux(test, kernel(cal=cal)).reported
    assert reported is not None
    assert (reported.deviation, reported.rules, reported.parts_from) == (name, rules, ("linux",))
