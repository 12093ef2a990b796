"""Mistakes with injected faults: each is shown by a seed."""

from typing import Any

from mkrpc.interconnect.faults import Faults
from mkrpc.interconnect.routing import Router

_judge = Faults.judge
_with_drops = Router._with_drops


def what_is_struck_is_sent_all_the_same(self: Any, faults: Any, *asked: Any) -> Any:
    *_, targets, _ = asked
    part, _ = _with_drops(self, faults, *asked)
    return part, targets


def one_fate_stands_for_a_whole_burst(self: Any, **asked: Any) -> Any:
    _, dropped = _judge(self, **asked)
    return asked["count"], dropped


MUTANTS = [
    (Router, "_with_drops", what_is_struck_is_sent_all_the_same, 1),
    (Faults, "judge", one_fate_stands_for_a_whole_burst, 40),
]
