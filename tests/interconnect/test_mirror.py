"""The interconnect's copy of the accounting (design 3.4)."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mkrpc.errors import ProtocolError
from mkrpc.interconnect.mirror import KEPT_INCARNATIONS, Mirror, MirrorRow
from mkrpc.link.frames import CpuAccount, VectorCount


def account(cpu: int = 0, **changes: Any) -> CpuAccount:
    values: dict[str, Any] = {
        "irr": 0,
        "isr": 0,
        "tpr": 0,
        "ppr": 0,
        "interrupts_enabled": True,
        "activity": "idle",
        "multikernel": 0,
    }
    return CpuAccount(cpu=cpu, **(values | changes))


def count(vector: int = 0xEA, *, n: int = 0, **changes: int) -> VectorCount:
    whole = VectorCount(vector, delivered=n, coalesced=0, handled=n, eoi=n, discarded=0)
    return replace(whole, **changes)


def test_a_new_row_is_whole_and_empty() -> None:
    row = MirrorRow(3, 2)
    assert [a.cpu for a in row.accounts()] == [0, 1]
    assert all(a.vectors == [] and a.stats == {} for a in row.accounts())
    assert row.check() == []


def test_a_report_holds_what_changed_and_the_rest_stays() -> None:
    row = MirrorRow(3, 2)
    row.apply(account(1, vectors=[count(0x41, n=2)], stats={4: 7}, multikernel=1))
    row.apply(account(1, vectors=[count(0xEA, n=1)], stats={2: 1}, multikernel=2, ppr=0x40))
    seen = row.accounts()[1]
    assert seen.vectors == [count(0x41, n=2), count(0xEA, n=1)]
    assert seen.stats == {2: 1, 4: 7}
    assert (seen.multikernel, row.ppr(1), row.ppr(0)) == (2, 0x40, 0)
    assert row.delivered(1) == {0x41: 2, 0xEA: 1}
    assert row.accounts()[0].vectors == []


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0x40, 0x43), st.integers(0, 5))))
def test_applying_a_report_twice_changes_nothing(steps: list[tuple[int, int, int]]) -> None:
    once, twice = MirrorRow(0, 2), MirrorRow(0, 2)
    totals: dict[tuple[int, int], int] = {}
    for cpu, vector, more in steps:
        totals[cpu, vector] = totals.get((cpu, vector), 0) + more
        report = account(
            cpu, vectors=[count(vector, n=totals[cpu, vector])], stats={1: sum(totals.values())}
        )
        once.apply(report)
        twice.apply(report)
        twice.apply(report)
    assert once.accounts() == twice.accounts()
    assert once.check() == []


@pytest.mark.parametrize(
    "bad",
    [
        account(vectors=[count(n=4)]),
        account(vectors=[count(n=5, coalesced=2)], multikernel=5),
        account(vectors=[count(n=5, eoi=4, coalesced=3)], multikernel=5),
        account(multikernel=4),
        account(multikernel=5, stats={7: 8}),
        account(multikernel=5, stats={64: 1}),
        account(multikernel=5, irr=1 << 256),
        account(multikernel=5, isr=-1),
        account(multikernel=5, tpr=256),
        account(multikernel=5, ppr=-1),
        account(multikernel=5, activity="asleep"),
        account(multikernel=5, vectors=[count(256, n=1)]),
        account(multikernel=5, vectors=[count(n=1 << 44)]),
        account(2, multikernel=5),
        account(-1, multikernel=5),
    ],
)
def test_a_count_that_falls_or_a_register_that_cannot_be_changes_nothing(bad: CpuAccount) -> None:
    row = MirrorRow(0, 2)
    row.apply(account(multikernel=5, vectors=[count(n=5, coalesced=3)], stats={7: 9}))
    before = row.accounts()
    with pytest.raises(ProtocolError):
        row.apply(bad)
    assert row.accounts() == before


@pytest.mark.parametrize(
    ("report", "complaint"),
    [
        (account(vectors=[count(n=3)]), None),
        (account(vectors=[count(delivered=3, handled=2, eoi=2)], irr=1 << 0xEA), None),
        (account(vectors=[count(delivered=3, handled=3, eoi=2)], isr=1 << 0xEA), None),
        (account(vectors=[count(delivered=3, handled=1, eoi=1, discarded=2)]), None),
        (account(vectors=[count(delivered=3, handled=2, eoi=2)]), "delivered 3 is not handled 2"),
        (account(vectors=[count(n=3)], irr=1 << 0xEA), "+ pending 1"),
        (account(vectors=[count(delivered=3, handled=3, eoi=2)]), "handled 3 is not eoi 2"),
        (account(vectors=[count(n=3)], isr=1 << 0xEA), "+ in service 1"),
        (account(irr=1 << 0x41), "vector 0x41: delivered 0"),
        (account(isr=1 << 0x41), "vector 0x41: handled 0"),
    ],
)
def test_the_second_law(report: CpuAccount, complaint: str | None) -> None:
    row = MirrorRow(3, 1)
    row.apply(report)
    lines = row.check()
    if complaint is None:
        assert lines == []
    else:
        assert len(lines) == 1
        assert complaint in lines[0]
        assert lines[0].startswith("instance 3 CPU 0")


def test_dead_incarnations_are_kept_up_to_a_limit_and_a_new_one_opens_a_new_row() -> None:
    mirror = Mirror()
    ids = [n.to_bytes(16, "big") for n in range(KEPT_INCARNATIONS + 2)]
    for incarnation in ids:
        row = MirrorRow(1, 1)
        mirror.open(incarnation, row)
        assert row.accounts()[0].multikernel == 0
        row.apply(account(multikernel=1))
        mirror.close(incarnation)
    assert [mirror.row(i) for i in ids[:2]] == [None, None]
    kept = mirror.row(ids[2])
    assert kept is not None
    assert kept.accounts()[0].multikernel == 1
