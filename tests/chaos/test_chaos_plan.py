"""The plan of a run: whole before it begins, and the same for the same seed."""

import random
from collections import Counter
from itertools import pairwise

import pytest

from mkrpc.chaos.plan import KINDS, MAX_FAULTS, Fault, LinkMode, draw, parse_kinds
from mkrpc.errors import InvalidArgumentError
from mkrpc.host.restarts import LIMIT_WINDOW_S, MAX_RESTARTS

LEASE_S = 3.0


def plan(seed: int = 1, *, length_s: float = 1800.0, kinds=KINDS, instances: int = 8):
    return draw(
        random.Random(seed),
        length_s=length_s,
        every_s=5.0,
        instance_ids=range(instances),
        kinds=kinds,
        lease_s=LEASE_S,
    )


def test_a_seed_is_a_plan():
    assert plan(7) == plan(7)
    assert plan(7) != plan(8)


def test_half_an_hour_has_a_fault_about_every_five_seconds_of_every_kind():
    faults = plan()
    assert len(faults) == 360
    kinds = Counter(fault.kind for fault in faults)
    assert kinds.keys() == set(KINDS)
    assert all(80 <= count <= 100 for count in kinds.values())
    gaps = [later.at_s - sooner.at_s for sooner, later in pairwise(faults)]
    assert all(2.5 <= gap <= 7.5 for gap in gaps)
    assert {fault.link.how for fault in faults if fault.link} == {
        *("reset", "cut", "abandon", "half-open", "late", "slow")
    }
    assert {fault.instance_id for fault in faults} == {None, *range(8)}


def test_a_short_run_has_every_kind_too():
    assert {fault.kind for fault in plan(length_s=20.0)} == set(KINDS)


def test_a_stop_or_a_silence_ends_its_victim_for_sure_or_never():
    """Between half a lease and one and a half it would be a matter of luck."""
    seen = set()
    for fault in plan():
        if fault.kind == "stop" or (fault.link and fault.link.how in ("cut", "half-open")):
            seen.add(fault.outlasts_lease)
            assert (fault.duration_s >= 1.5 * LEASE_S) == fault.outlasts_lease
            assert fault.outlasts_lease or fault.duration_s <= 0.45 * LEASE_S
            assert fault.may_end == fault.outlasts_lease
            assert not (fault.hits_interconnect and fault.outlasts_lease)
        elif fault.kind == "link":
            assert not fault.may_end
    assert seen == {True, False}


def test_a_victim_is_left_alone_for_a_while():
    victims = [fault.instance_id for fault in plan() if fault.instance_id is not None]
    for index, victim in enumerate(victims):
        assert victim not in victims[index + 1 : index + 7]


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_can_be_left_out(kind):
    assert {fault.kind for fault in plan(kinds=(kind,))} == {kind}
    assert parse_kinds(f" {kind}") == (kind,)


@pytest.mark.parametrize("kinds", [("interconnect",), ("kill", "interconnect")])
def test_the_interconnect_is_not_killed_more_often_than_it_is_started_again(kinds):
    """Its host agent gives up at the next end after MAX_RESTARTS within the window."""
    killed = [fault.at_s for fault in plan(kinds=kinds) if fault.kind == "interconnect"]
    assert len(killed) > 50
    for index, at_s in enumerate(killed):
        assert sum(at_s <= other < at_s + LIMIT_WINDOW_S for other in killed[index:]) < MAX_RESTARTS


def test_what_is_no_kind_is_refused_by_name():
    with pytest.raises(InvalidArgumentError, match="'flood' is no kind of fault"):
        parse_kinds("kill,flood")


def test_a_plan_has_a_limit():
    with pytest.raises(InvalidArgumentError, match=str(MAX_FAULTS)):
        plan(length_s=5.0 * (MAX_FAULTS + 1))


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        (Fault(1, 0.0, "kill", 3, 0.5), "kill -9 of instance 3"),
        (Fault(1, 0.0, "stop", 3, 0.5), "stop of instance 3 for 0.5 s"),
        (
            Fault(1, 0.0, "stop", 3, 5.0, None, True),
            "stop of instance 3 for 5.0 s, beyond the lease",
        ),
        (Fault(1, 0.0, "interconnect", None), "kill -9 of the interconnect"),
        (Fault(1, 0.0, "stop", None, 0.5), "stop of the interconnect for 0.5 s"),
        (Fault(1, 0.0, "interconnect", 2), "kill -9 of the interconnect and of instance 2"),
        (Fault(1, 0.0, "link", 2, 0.0, LinkMode("reset")), "link of instance 2: reset"),
        (Fault(1, 0.0, "link", None, 0.0, LinkMode("reset")), "link of the clients: reset"),
        (
            Fault(1, 0.0, "link", 2, 1.0, LinkMode("half-open", ("up",))),
            "link of instance 2: half-open up only for 1.0 s",
        ),
        (
            Fault(1, 0.0, "link", 2, 1.0, LinkMode("late", delay_s=0.2)),
            "link of instance 2: late 0.20 s for 1.0 s",
        ),
        (
            Fault(1, 0.0, "link", 2, 1.0, LinkMode("slow", bytes_per_s=123456)),
            "link of instance 2: slow 123 kB/s for 1.0 s",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_fault_says_what_it_is(fault, text):
    assert fault.text == text
