"""The same seeds where every limit is small: windows fill, queues overflow, frames are cut in many.

A limit that is never reached is one whose named outcome nobody has seen.
"""

import random
from collections import Counter

import pytest

from mkrpc.instance import arrivals, attachment, kernel, resending
from mkrpc.interconnect import (
    clients,
    injection,
    instalments,
    known_clients,
    ledger,
    legs,
    places,
    refusing,
    session,
    tally,
    telling,
    word_kinds,
)
from mkrpc.link import endpoint, source
from mkrpc.simulation import calls, options
from mkrpc.simulation.run import run

SMALL = (
    (endpoint, "FRAME_WINDOW", 3),
    (endpoint, "ACK_EVERY", 1),
    (session, "LEG_WINDOW", 24),
    (legs, "QUEUE_PER_SOURCE", 6),
    (session, "QUEUE_LIMIT", 40),
    (session, "QUEUE_PER_CPU", 8),
    (session, "MAX_FRAME_WORDS", 6),
    (session, "MAX_FRAME_COMMANDS", 1),
    (session, "MAX_FRAME_RUNS", 4),
    (session, "_TELL_AT_ONCE", 4),
    (session, "_NEARLY_STALLED", 8),
    (attachment, "FRAME_EVENTS", 5),
    (arrivals, "MAX_FRAME_WORDS", 3),
    (telling, "MAX_FRAME_RUNS", 4),
    (telling, "MAX_FRAME_BOOKS", 2),
    (resending, "MAX_FRAME_BOOKS", 2),
    (resending, "MAX_FRAME_ARBITRATED", 1),
    (resending, "FRAME_EVENTS", 5),
    (source, "MAX_STAMPS", 3),
    (attachment, "MAX_FRAME_VECTORS", 2),
    (kernel, "FRAME_EVENTS", 5),
    (kernel, "MAX_QUEUED_EVENTS", 20),
    (source, "_SHARED_WRITES", 60),
    (source, "RESERVED_WRITES", 2),
    (source, "PUBLISH_EVERY", 4),
    (injection, "INJECTION_WINDOW", 8),
    (injection, "_REFILL", 2),
    (clients, "KEPT_WRITES", 16),
    (injection, "MAX_WAITERS", 1),
    (instalments, "MAX_INSTALMENT", 16),
    (known_clients, "MAX_CALLS_PER_CLIENT", 60),
    (tally, "MAX_EACH_LEGS", 12),
    (places, "MAX_PLACES", 4),
    (refusing, "MAX_KNOWN_ROWS", 2),
    (word_kinds, "NUMPY_FROM", 4),
    (ledger, "MAX_FINISHED_CLIENTS", 1),
    (ledger, "MAX_FINISHED_INCARNATIONS", 1),
)
QUICK_SEEDS = range(1, 41)
QUICK_CALLING_SEEDS = range(1, 13)
FULL_SEEDS = range(1, 1001)


@pytest.fixture
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name, value in SMALL:
        assert getattr(module, name) > value
        monkeypatch.setattr(module, name, value)
    # In proportion: a burst that is long without that would take longer than a run has.
    monkeypatch.setattr(options, "_BURSTS", ((1, 3, 20), (1, 1, 40, 120)))
    monkeypatch.setattr(options, "_LONG_BURSTS", (1, 1, 1, 200))
    monkeypatch.setattr(calls, "_MANY_WORDS", (60, 200))
    monkeypatch.setattr(calls, "_LONG", (60, 200))
    monkeypatch.setattr(calls, "_LONG_SHARE", 0.3)


def check(seeds: range, *, calling: bool = False) -> Counter[str]:
    outcomes: Counter[str] = Counter()
    for seed in seeds:
        result = run(seed, random.Random, calls=calling)
        assert result.violation == "", seed
        outcomes.update(result.outcomes)
    return outcomes


@pytest.mark.usefixtures("_small")
@pytest.mark.parametrize("first", QUICK_SEEDS[::20])
def test_no_seed_breaks_a_promise_with_small_limits(first: int) -> None:
    outcomes = check(range(first, first + 20))
    assert outcomes["rejected(backpressure)"] > 0


@pytest.mark.usefixtures("_small")
def test_no_seed_breaks_a_promise_with_small_limits_while_clients_call() -> None:
    """A burst is beyond the window of its call, too."""
    outcomes = check(QUICK_CALLING_SEEDS, calling=True)
    assert outcomes["rejected(backpressure)"] > 0


@pytest.mark.usefixtures("_small")
def test_what_nobody_knows_of_a_call_may_be_known_when_it_comes_again() -> None:
    """A repetition found no room for a word, which was lost by name; before its client was told of
    the whole call that interconnect died too, and the next one had room."""
    check(range(416, 417), calling=True)


@pytest.mark.full
@pytest.mark.usefixtures("_small")
@pytest.mark.parametrize("first", FULL_SEEDS[::100])
@pytest.mark.parametrize("calling", [False, True])
def test_none_of_many_seeds_does(first: int, calling: bool) -> None:
    check(range(first, first + 100), calling=calling)
