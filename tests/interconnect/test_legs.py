"""Batches of equal writes: one is resolved once the slowest of its lanes has passed it."""

from hypothesis import given
from hypothesis import strategies as st

from mkrpc.interconnect.ledger import EARLIER_CLIENTS
from mkrpc.interconnect.legs import Batch


@given(st.integers(1, 6), st.integers(1, 9), st.data())
def test_writes_are_resolved_in_order_as_the_slowest_lane_passes_them(
    lanes: int, count: int, data: st.DataObject
) -> None:
    resolved: list[int] = []
    batch = Batch(
        source=EARLIER_CLIENTS,
        first_seq=101,
        count=count,
        word=0,
        lanes=lanes,
        tally=None,
        on_resolved=lambda first, last: resolved.extend(range(first, last + 1)),
    )
    progress = [0] * lanes
    while min(progress) < count:
        open_lanes = [lane for lane in range(lanes) if progress[lane] < count]
        lane = data.draw(st.sampled_from(open_lanes))
        step = data.draw(st.integers(1, count - progress[lane]))
        progress[lane] += step
        batch.advance(lane, step)
        assert batch.resolved == min(progress)
        assert resolved == list(range(101, 101 + min(progress)))
