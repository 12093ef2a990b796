"""Messages through an interconnect that dies: each arrives once, in order, or ends by name."""

import random
from collections import Counter

import pytest
from simulation.restart_machine import RestartMachine, play
from simulation.test_restart import STAGES

from mkrpc.link.messages import MESSAGE_WINDOW
from mkrpc.outcome import Outcome

USER = 0x4000
BOB = 1


def post(m: RestartMachine, *numbers: int) -> None:
    for number in numbers:
        assert m.nodes[0].kernel.post.send(BOB, USER, bytes([number])) == 0


def taken(m: RestartMachine, limit: int = 1000) -> list[int]:
    """What bob takes out."""
    found = []
    while len(found) < limit and (arrival := m.nodes[BOB].kernel.post.take()) is not None:
        found.append(arrival.data[0])
    return found


def fates(m: RestartMachine) -> dict[Outcome, int]:
    sent = m.nodes[0].kernel.post.sent[BOB]
    assert sum(sent.outcomes.values()) + len(sent.unsettled) == sent.last
    return sent.outcomes


def live_up_to(m: RestartMachine, stage: str, takes: int) -> list[int]:
    """Play it; once they have come, bob takes so many."""
    before, d, after = stage.partition("d")
    play(m, before + d)
    found = taken(m, takes)
    play(m, after if found else "")
    return found


@pytest.mark.parametrize("restarts", [1, 2])
@pytest.mark.parametrize("takes", [0, 2])
@pytest.mark.parametrize("stage", STAGES.values(), ids=STAGES)
def test_each_arrives_once_and_in_order(stage: str, takes: int, restarts: int) -> None:
    m = RestartMachine()
    post(m, 1, 2, 3)
    found = live_up_to(m, stage, takes)
    for _ in range(restarts):
        m.restart()
    post(m, 4)
    m.settle()
    found += taken(m)
    m.settle()
    assert found == [1, 2, 3, 4]
    assert fates(m) == {Outcome.DELIVERED: 4}
    m.check()


@pytest.mark.parametrize("stage", STAGES.values(), ids=STAGES)
def test_none_reaches_an_incarnation_that_was_born_later(stage: str) -> None:
    m = RestartMachine()
    post(m, 1, 2, 3)
    found = live_up_to(m, stage, 2)
    m.kill(BOB)
    m.restart()
    m.settle()
    m.boot(BOB, 2)
    m.settle()
    assert taken(m) == []
    fate = fates(m)
    assert sum(fate.values()) == 3
    assert fate.get(Outcome.DELIVERED, 0) <= len(found)
    assert fate.keys() <= {
        Outcome.DELIVERED,
        Outcome.LOST_TARGET_DEAD,
        Outcome.LOST_TARGET_DEAD_MAYBE_DELIVERED,
        Outcome.REJECTED_NO_SUCH_APIC,
    }
    post(m, 4)
    m.settle()
    assert taken(m) == [4]


def scramble(seed: int) -> None:
    rng = random.Random(seed)
    m = RestartMachine(2)
    number, life, found = 0, 1, []
    for _ in range(60):
        match rng.choice(["post", "post", "send", "send", "fetch", "take", "restart", "kill"]):
            case "post":
                if m.nodes[0].kernel.post.outstanding(BOB) < MESSAGE_WINDOW:
                    number += 1
                    post(m, number)
            case "send":
                rng.choice([m.nodes[0], m.nodes[BOB]]).send()
            case "fetch":
                rng.choice([m.nodes[0], m.nodes[BOB]]).fetch()
            case "take":
                found += taken(m, rng.randrange(4))
            case "restart" if rng.random() < 0.5:
                m.restart()
            case "kill" if rng.random() < 0.3:
                m.kill(BOB)
                m.settle()
                life += 1
                m.boot(BOB, life)
    m.settle()
    found += taken(m)
    m.settle()
    assert found == sorted(set(found)), "in order, none twice"
    fate = Counter(fates(m))
    maybe = fate[Outcome.LOST_TARGET_DEAD_MAYBE_DELIVERED]
    assert fate[Outcome.DELIVERED] <= len(found) <= fate[Outcome.DELIVERED] + maybe
    assert fate.total() == number, "nothing stays open"


@pytest.mark.parametrize("seed", range(300))
def test_whatever_happens(seed: int) -> None:
    scramble(seed)


@pytest.mark.full
@pytest.mark.timeout(3600)
def test_whatever_happens_often() -> None:
    for seed in range(1000, 6000):
        scramble(seed)


def test_who_listens_is_told_by_the_next_interconnect_where_the_others_are_rung() -> None:
    m = RestartMachine()
    post = m.nodes[0].kernel.post
    m.settle()
    post.listen([])
    m.settle()
    told = dict(post.doorbells)
    assert told == {1: 2, 2: 4}
    post.doorbells.clear()
    post._rung.clear()
    m.restart()
    m.settle()
    assert post.doorbells == told
    m.check()
