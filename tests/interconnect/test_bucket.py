"""Token buckets: exact to the write, on integers, whatever the steps of the clock."""

from fractions import Fraction
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mkrpc.errors import InvalidArgumentError
from mkrpc.interconnect.bucket import CLIENTS, Buckets, Rate, Rates, TokenBucket
from mkrpc.limits import MAX_BURST, MAX_WRITES_PER_S, default_burst

RATES = st.builds(Rate, st.integers(1, 50_000), st.integers(1, 500))
STEPS = st.lists(st.tuples(st.integers(0, 400_000), st.integers(0, 700)), max_size=60)


@given(RATES, STEPS)
def test_no_interval_lets_more_pass_than_the_burst_and_the_rate_allow(
    rate: Rate, steps: list[tuple[int, int]]
) -> None:
    bucket = TokenBucket(rate, 0)
    times = list(accumulate(wait for wait, _ in steps))
    passed = [bucket.take(count, now) for now, (_, count) in zip(times, steps, strict=True)]
    for first, began in enumerate(times):
        for last in range(first, len(times)):
            seconds = Fraction(times[last] - began, 1_000_000)
            assert sum(passed[first : last + 1]) <= rate.burst + rate.writes_per_s * seconds


@given(RATES, STEPS)
def test_nothing_is_refused_that_the_rate_allows(rate: Rate, steps: list[tuple[int, int]]) -> None:
    """The other side: the level by its definition, with fractions."""
    bucket, level, now = TokenBucket(rate, 0), Fraction(rate.burst), 0
    for wait, count in steps:
        now += wait
        grown = level + Fraction(wait * rate.writes_per_s, 1_000_000)
        level = min(grown, Fraction(rate.burst))
        expected = min(count, int(level))
        assert bucket.take(count, now) == expected
        level -= expected


@given(RATES, STEPS)
def test_all_at_once_pass_as_one_by_one(rate: Rate, steps: list[tuple[int, int]]) -> None:
    whole, single, now = TokenBucket(rate, 0), TokenBucket(rate, 0), 0
    for wait, count in steps:
        now += wait
        assert whole.take(count, now) == sum(single.take(1, now) for _ in range(count))
    assert (whole.passed, whole.refused) == (single.passed, single.refused)


@given(RATES, RATES, STEPS)
def test_another_rate_gives_nothing_away(
    rate: Rate, other: Rate, steps: list[tuple[int, int]]
) -> None:
    bucket, now = TokenBucket(rate, 0), 0
    for wait, count in steps:
        now += wait
        before = bucket.available(now)
        bucket.change(other, now)
        assert bucket.available(now) <= min(before, other.burst)
        bucket.take(count, now)
        rate, other = other, rate


def test_who_has_no_rate_is_not_limited() -> None:
    buckets = Buckets(Rates(by_id={1: Rate(1, 5)}))
    assert [buckets.take(who, 9) for who in (0, 1, CLIENTS)] == [9, 5, 9]
    assert (buckets.available(0), buckets.available(1)) == (None, 0)
    buckets.now_us = 2_000_000
    assert buckets.take(1, 9) == 2


def test_a_source_s_own_rate_goes_before_that_of_all() -> None:
    buckets = Buckets(
        Rates(instances=Rate(1, 3), clients=Rate(1, 2), by_id={1: Rate(1, 5), 2: None})
    )
    assert [buckets.take(who, 9) for who in (0, 1, 2, CLIENTS)] == [3, 5, 9, 2]


def test_a_limit_that_is_set_later_holds_from_then_on() -> None:
    buckets = Buckets(Rates())
    assert buckets.take(3, 100) == 100
    buckets.change(3, Rate(10, 4))
    assert (buckets.take(3, 100), buckets.take(2, 100)) == (4, 100)
    buckets.now_us = 1_000_000
    buckets.change(3, Rate(10, 2))
    assert buckets.take(3, 100) == 2
    buckets.change(3, None)
    assert buckets.take(3, 100) == 100


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (("2000",), Rates(instances=Rate(2000, 200))),
        (
            ("2000:7", "1=5", "clients=9:3"),
            Rates(instances=Rate(2000, 7), clients=Rate(9, 3), by_id={1: Rate(5, 1)}),
        ),
        (("2000:7", "1=0"), Rates(instances=Rate(2000, 7), by_id={1: None})),
        ((), Rates()),
    ],
)
def test_rates_as_they_are_typed(texts: tuple[str, ...], expected: Rates) -> None:
    assert Rates.parse(texts) == expected


@pytest.mark.parametrize(
    "text",
    ["", "x", "1=", "=5", "512=5", "mk1=5", "5:", "5:x", "5:0x", "-1", "1:2:3", "5:9999999", "²",
     f"{MAX_WRITES_PER_S + 1}", f"1:{MAX_BURST + 1}"],
)  # fmt: skip
def test_what_is_no_rate(text: str) -> None:
    with pytest.raises(InvalidArgumentError) as raised:
        Rates.parse((text,))
    assert raised.value.advice


def test_the_burst_that_nobody_names() -> None:
    assert [default_burst(n) for n in (1, 19, 20, 2000, MAX_WRITES_PER_S)] == [
        1, 1, 2, 200, MAX_BURST,
    ]  # fmt: skip
