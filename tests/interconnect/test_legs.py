"""Batches of equal writes: one is resolved once the slowest of its lanes has passed it."""

from collections import Counter
from collections.abc import Sequence
from itertools import groupby

from hypothesis import given
from hypothesis import strategies as st

from mkrpc.interconnect.ledger import EARLIER_CLIENTS, Row, RowKey
from mkrpc.interconnect.legs import Batch, Ended
from mkrpc.outcome import Outcome
from mkrpc.x86.icr import DeliveryMode

OUTCOMES = [Outcome.DELIVERED, Outcome.COALESCED, Outcome.LOST_TARGET_DEAD]


@given(st.integers(1, 6), st.integers(1, 9), st.data())
def test_writes_are_resolved_in_order_as_the_slowest_lane_passes_them(
    lanes: int, count: int, data: st.DataObject
) -> None:
    """And it is told how each of their legs ended, which is all that their source can learn."""
    resolved: list[int] = []
    ended: Counter[tuple[Row, Outcome]] = Counter()
    rows = [
        Row(RowKey(EARLIER_CLIENTS, None, apic_id, DeliveryMode.NMI, 0)) for apic_id in range(6)
    ]
    script = [[data.draw(st.sampled_from(OUTCOMES)) for _ in range(count)] for _ in range(lanes)]

    def on_resolved(first: int, last: int, legs: Sequence[Ended]) -> None:
        resolved.extend(range(first, last + 1))
        for row, outcome, number in legs:
            ended[row, outcome] += number

    batch = Batch(
        source=EARLIER_CLIENTS,
        first_seq=101,
        count=count,
        word=0,
        lanes=lanes,
        tally=None,
        on_resolved=on_resolved,
    )
    progress = [0] * lanes
    while min(progress) < count:
        open_lanes = [lane for lane in range(lanes) if progress[lane] < count]
        lane = data.draw(st.sampled_from(open_lanes))
        step = data.draw(st.integers(1, count - progress[lane]))
        for outcome, equal in groupby(script[lane][progress[lane] : progress[lane] + step]):
            batch.advance(lane, len(list(equal)), rows[lane], outcome)
        progress[lane] += step
        assert batch.resolved == min(progress)
        assert resolved == list(range(101, 101 + min(progress)))
        assert ended == Counter(
            (rows[lane], outcome)
            for lane in range(lanes)
            for outcome in script[lane][: len(resolved)]
        )


def test_a_lane_whose_legs_end_alike_does_not_grow_while_another_is_stuck() -> None:
    row = Row(RowKey(EARLIER_CLIENTS, None, 0, DeliveryMode.NMI, 0))
    batch = Batch(
        source=EARLIER_CLIENTS,
        first_seq=1,
        count=1000,
        word=0,
        lanes=2,
        tally=None,
        on_resolved=lambda first, last, ended: None,
    )
    for _ in range(1000):
        batch.advance(0, 1, row, Outcome.DELIVERED)
    assert batch._ended[0] == [(row, Outcome.DELIVERED, 1000)]
