"""The law of scoring for tests of the patched kernel (README of the recordings)."""

import pytest

from mkrpc.conformance.judge import LinuxObservation, judge_linux
from mkrpc.conformance.recording import LinuxApic, LinuxTest


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
