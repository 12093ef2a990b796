"""Whose turn it is goes by cost: who asks for much waits for those who ask for little."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mkrpc.errors import LimitReachedError, NotFoundError
from mkrpc.interconnect import rota as rota_module
from mkrpc.interconnect.rota import Rota, Worker
from mkrpc.interconnect.turns import Turns


@dataclass(eq=False)
class Flow(Worker):
    cost: float = 1.0
    done: list[int] = field(default_factory=list)
    left: int = 0

    def apply_next(self) -> bool:
        self.left -= 1
        self.done.append(self.left)
        return self.left > 0


def serve(turns: Turns[Flow], times: int) -> Counter[Flow]:
    served: Counter[Flow] = Counter()
    for _ in range(times):
        flow = turns.take()
        served[flow] += 1
        turns.done(flow, flow.cost, more=True)
    return served


@given(st.lists(st.floats(0.001, 1000), min_size=2, max_size=8), st.integers(1, 400))
def test_what_those_who_always_have_work_have_cost_differs_by_one_piece_at_most(
    costs: list[float], times: int
) -> None:
    turns: Turns[Flow] = Turns()
    flows = [Flow(cost) for cost in costs]
    for flow in flows:
        turns.put(flow)
    served = serve(turns, times)
    for flow in flows:
        for other in flows:
            apart = served[flow] * flow.cost - served[other] * other.cost
            assert apart <= flow.cost * (1 + 1e-9)


def test_one_piece_each_where_all_cost_alike() -> None:
    turns: Turns[Flow] = Turns()
    flows = [Flow() for _ in range(3)]
    for flow in flows:
        turns.put(flow)
    assert set(serve(turns, 30).values()) == {10}


def test_who_was_idle_has_saved_nothing() -> None:
    turns: Turns[Flow] = Turns()
    busy, late = Flow(), Flow()
    turns.put(busy)
    serve(turns, 1000)
    turns.put(late)
    assert serve(turns, 20) == {busy: 10, late: 10}


@given(st.lists(st.tuples(st.integers(0, 2), st.floats(0.001, 10)), max_size=40))
def test_who_is_served_at_once_has_the_account_of_one_that_waited(
    pieces: list[tuple[int, float]],
) -> None:
    """Where nobody waits, beginning is to put and to take, without the queue."""
    waited: Turns[Flow] = Turns()
    at_once: Turns[Flow] = Turns()
    flows, others = [Flow() for _ in range(3)], [Flow() for _ in range(3)]
    for number, cost in pieces:
        waited.put(flows[number])
        assert waited.take() is flows[number]
        waited.done(flows[number], cost, more=False)
        at_once.begin(others[number])
        at_once.done(others[number], cost, more=False)
    assert [flow.spent for flow in flows] == [flow.spent for flow in others]
    for flow, other in zip(flows, others, strict=True):
        waited.put(flow)
        at_once.put(other)
    assert flows.index(waited.take()) == others.index(at_once.take())


def test_who_pauses_after_each_piece_is_forgiven_nothing() -> None:
    """Ten times the cost, a tenth of the pieces, though it never has two that wait."""
    turns: Turns[Flow] = Turns()
    cheap, dear = Flow(1), Flow(10)
    turns.put(cheap)
    turns.put(dear)
    served: Counter[Flow] = Counter()
    for _ in range(220):
        flow = turns.take()
        served[flow] += 1
        turns.done(flow, flow.cost, more=flow is cheap)
        if flow is dear:
            turns.put(dear)
    assert served[cheap] == pytest.approx(10 * served[dear], abs=10)


async def test_calls_of_clients_have_one_turn_among_the_links(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rota_module, "TURN_S", 1e-9)
    order: list[str] = []
    rota = Rota(before=lambda: None, after=lambda: None)

    class Link(Flow):
        def apply_next(self) -> bool:
            order.append("link")
            return super().apply_next()

    links = [Link(left=20) for _ in range(2)]
    rota.offer(links[0])
    calls = [asyncio.ensure_future(rota.call(lambda: order.append("client"))) for _ in range(20)]
    rota.offer(links[1])
    await asyncio.gather(*calls)
    assert order.count("client") == 20
    assert order.count("link") >= 10, "twenty callers are no twenty sources"


@pytest.mark.parametrize(("turn_s", "turns"), [(1e3, 0), (1e-9, 2)])
async def test_what_is_done_at_once_costs_no_turn_of_the_loop_while_half_of_one_is_left(
    monkeypatch: pytest.MonkeyPatch, turn_s: float, turns: int
) -> None:
    monkeypatch.setattr(rota_module, "TURN_S", turn_s)
    began: list[str] = []
    rota = Rota(before=lambda: began.append("turn"), after=lambda: None)
    for _ in range(2):
        flow = Flow(left=1)
        rota.offer(flow)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert flow.done == [0]
    assert len(began) == turns


async def test_what_follows_from_a_call_is_sent_though_no_turn_follows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rota_module, "TURN_S", 1e3)
    order: list[str] = []
    rota = Rota(before=lambda: None, after=lambda: order.append("sent"))
    await rota.call(lambda: order.append("done"))
    assert order == ["done", "sent"]


async def test_what_a_call_raises_is_its_caller_s() -> None:
    rota = Rota(before=lambda: None, after=lambda: None)

    def wrong() -> None:
        raise NotFoundError("nobody")

    def bug() -> None:
        raise ZeroDivisionError

    for work, kind in ((wrong, NotFoundError), (bug, ZeroDivisionError)):
        with pytest.raises(kind):
            await rota.call(work)
    assert await rota.call(lambda: 5) == 5


async def test_calls_that_wait_have_a_limit_and_who_goes_away_costs_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rota_module, "MAX_WAITING_CALLS", 3)
    monkeypatch.setattr(rota_module, "TURN_S", 0.0)
    rota = Rota(before=lambda: None, after=lambda: None)
    done: list[int] = []
    calls = [
        asyncio.ensure_future(rota.call(lambda number=number: done.append(number)))
        for number in range(4)
    ]
    await asyncio.sleep(0)
    with pytest.raises(LimitReachedError):
        await calls[3]
    calls[1].cancel()
    rota.turn_s = 1.0
    await asyncio.gather(*calls, return_exceptions=True)
    assert done == [0, 2]
