"""A run that breaks a law is made small, and the small one breaks the same law."""

import random

import pytest
from compiled_model import skip_if_compiled

from mkrpc.errors import ProtocolError
from mkrpc.interconnect.mirror import MirrorRow
from mkrpc.interconnect.session import Session
from mkrpc.simulation.run import draw, run
from mkrpc.simulation.shrink import MAX_TRIES, shrink


def test_a_law_that_is_broken_by_any_step_needs_one_step_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    skip_if_compiled(MirrorRow)
    monkeypatch.setattr(MirrorRow, "apply", lambda row, account: None)
    _, plan, _ = draw(1, random.Random)
    assert len(plan.steps) > 10
    tries: list[int] = []
    shrunk = shrink(1, random.Random, on_try=tries.append)
    assert len(shrunk.left) <= 2
    assert tries == list(range(2, shrunk.tries + 1))
    assert shrunk.tries <= MAX_TRIES
    assert run(1, random.Random, without=shrunk.without) == shrunk.result
    assert shrunk.result.law == run(1, random.Random).law


def test_a_law_that_needs_a_fault_keeps_the_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """A session that does not come back: nobody misses it unless a link breaks."""
    skip_if_compiled(Session)
    monkeypatch.setattr(Session, "resume", lambda session, hello: None)
    seed = next(seed for seed in range(1, 50) if run(seed, random.Random).violation)
    shrunk = shrink(seed, random.Random)
    faults = [line for line in shrunk.left if line.startswith("f")]
    assert faults
    without = shrunk.without | {line.split()[0] for line in faults}
    assert run(seed, random.Random, without=without).violation == ""


def test_what_was_left_out_already_stays_out(monkeypatch: pytest.MonkeyPatch) -> None:
    skip_if_compiled(MirrorRow)
    monkeypatch.setattr(MirrorRow, "apply", lambda row, account: None)
    assert shrink(1, random.Random, without=frozenset({"s1"})).without >= {"s1"}


def test_what_is_raised_is_a_law_of_its_own_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(row: MirrorRow, account: object) -> None:
        raise ProtocolError("no: never")

    skip_if_compiled(MirrorRow)
    monkeypatch.setattr(MirrorRow, "apply", refuse)
    shrunk = shrink(1, random.Random)
    assert shrunk.result.law == "machine: ProtocolError"
    assert len(shrunk.left) <= 1


def test_a_machine_of_which_nothing_is_left_breaks_no_law() -> None:
    options, plan, _ = draw(1, random.Random)
    instances = {f"i{each.instance_id}" for each in options.instances}
    steps = {f"s{step.number}" for step in plan.steps}
    result = run(1, random.Random, without=instances | steps)
    assert (result.violation, result.legs) == ("", 0)


def test_a_run_that_breaks_no_law_cannot_be_shrunk() -> None:
    with pytest.raises(AssertionError, match="seed 1 breaks no law"):
        shrink(1, random.Random)
