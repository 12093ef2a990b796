"""Watching is bounded: a slow watcher costs the bus nothing and is told what it missed."""

import asyncio

import pytest

from mkrpc.errors import LimitReachedError
from mkrpc.interconnect import watch
from mkrpc.interconnect.watch import (
    MAX_EVENTS_PER_MESSAGE,
    MAX_QUEUED_EVENTS,
    MAX_WATCHERS,
    EventHub,
)
from mkrpc.trace import InstanceDetached, event_fields


def event(number: int) -> InstanceDetached:
    return InstanceDetached(number, f"kernel{number}", bytes(16), "killed")


async def numbers(watcher: watch.Watcher, count: int) -> list[int]:
    """The numbers of the next ``count`` events, in as many messages as it takes."""
    found: list[int] = []
    while len(found) < count:
        found += [each.number for each in (await watcher.next_message()).events]
    return found


async def test_every_watcher_gets_each_event_once_with_the_hubs_number():
    hub = EventHub(lambda _sink: None)
    hub(event(1))
    first = hub.add()
    hub(event(2))
    second = hub.add()
    hub(event(3))
    assert await numbers(first, 2) == [2, 3]
    message = await second.next_message()
    assert [(each.number, each.kind) for each in message.events] == [(3, "detach")]
    assert dict(message.events[0].fields) == event_fields(event(3))
    assert message.missed == 0


async def test_a_message_waits_for_an_event():
    hub = EventHub(lambda _sink: None)
    watcher = hub.add()
    waiting = asyncio.create_task(watcher.next_message())
    await asyncio.sleep(0)
    assert not waiting.done()
    hub(event(1))
    assert [each.number for each in (await waiting).events] == [1]


async def test_a_message_holds_a_bounded_number_of_events():
    hub = EventHub(lambda _sink: None)
    watcher = hub.add()
    for number in range(MAX_EVENTS_PER_MESSAGE + 1):
        hub(event(number))
    sizes = [len((await watcher.next_message()).events) for _ in range(2)]
    assert sizes == [MAX_EVENTS_PER_MESSAGE, 1]


async def test_a_slow_watcher_misses_the_oldest_and_is_told_how_many():
    hub = EventHub(lambda _sink: None)
    slow = hub.add()
    for number in range(MAX_QUEUED_EVENTS + 7):
        hub(event(number))
    message = await slow.next_message()
    assert message.missed == 7
    assert message.events[0].number == 8
    rest = MAX_QUEUED_EVENTS - len(message.events)
    assert (await numbers(slow, rest))[-1] == MAX_QUEUED_EVENTS + 7
    hub(event(0))
    assert (await slow.next_message()).missed == 7, "counted since it began, never forgotten"


async def test_a_slow_watcher_costs_the_others_nothing():
    hub = EventHub(lambda _sink: None)
    hub.add()
    quick = hub.add()
    for number in range(MAX_QUEUED_EVENTS + 7):
        hub(event(number))
        if number % 1000 == 0:
            await numbers(quick, 1000 if number else 1)
    assert (await quick.next_message()).missed == 0


async def test_one_watcher_too_many_is_refused_and_one_that_leaves_makes_room():
    hub = EventHub(lambda _sink: None)
    watchers = [hub.add() for _ in range(MAX_WATCHERS)]
    with pytest.raises(LimitReachedError, match=f"{MAX_WATCHERS} watchers"):
        hub.add()
    hub.remove(watchers[0])
    assert hub.add() not in watchers
    hub(event(1))
    assert await numbers(watchers[1], 1) == [1]
    gone = asyncio.create_task(watchers[0].next_message())
    await asyncio.sleep(0)
    assert not gone.done()
    gone.cancel()


def test_the_bus_makes_events_only_while_somebody_watches():
    heard = []
    hub = EventHub(heard.append)
    first, second = hub.add(), hub.add()
    hub.remove(first)
    assert heard == [hub, hub]
    hub.remove(second)
    assert heard == [hub, hub, None]
