"""What a fault may be, each kind by itself (design 3.5)."""

from dataclasses import replace
from typing import Any

import pytest

from mkrpc.errors import InvalidArgumentError
from mkrpc.fault import (
    LINK_KINDS,
    MAX_DELAY_US,
    MAX_FAULT_US,
    MAX_STRIKES,
    MIN_PERIOD_US,
    Direction,
    Fault,
    FaultKind,
)
from mkrpc.fault_codec import fault_from_pb, fault_to_pb
from mkrpc.v1 import control_pb2 as pb

POSSIBLE = {
    FaultKind.DROP: Fault(
        kind=FaultKind.DROP, source=0, destination=511, vector=255, every=2, limit=3, for_us=7
    ),
    FaultKind.DELAY: Fault(kind=FaultKind.DELAY, instance=1, delay_us=5, jitter_us=6, seed=1),
    FaultKind.DUPLICATE: Fault(
        kind=FaultKind.DUPLICATE, direction=Direction.UP, share=0.25, limit=MAX_STRIKES
    ),
    FaultKind.REORDER: Fault(kind=FaultKind.REORDER, every=2, direction=Direction.DOWN),
    FaultKind.PARTITION: Fault(kind=FaultKind.PARTITION, for_us=MAX_FAULT_US),
    FaultKind.FLAP: Fault(kind=FaultKind.FLAP, instance=0, period_us=MIN_PERIOD_US, limit=9),
    FaultKind.PAUSE: Fault(kind=FaultKind.PAUSE, instance=2),
}
OTHERS: dict[str, Any] = {
    "instance": 1,
    "direction": Direction.UP,
    "source": 1,
    "destination": 1,
    "vector": 0xEA,
    "share": 0.5,
    "every": 2,
    "limit": 1,
    "delay_us": 1,
    "jitter_us": 1,
    "period_us": MIN_PERIOD_US,
    "seed": 1,
}


@pytest.mark.parametrize("kind", FaultKind)
def test_every_kind_is_possible_and_survives_json_and_the_wire(kind: FaultKind) -> None:
    fault = POSSIBLE[kind]
    fault.check()
    assert Fault.of(fault.to_dict()) == fault
    assert fault_from_pb(fault_to_pb(fault)) == fault


@pytest.mark.parametrize("kind", FaultKind)
def test_a_kind_refuses_what_means_nothing_to_it(kind: FaultKind) -> None:
    fault = POSSIBLE[kind]
    assert OTHERS.keys() >= fault.takes
    for name in OTHERS.keys() - fault.takes:
        with pytest.raises(InvalidArgumentError, match=f"^{kind}: has no "):
            replace(fault, **{name: OTHERS[name]}).check()


@pytest.mark.parametrize(
    ("kind", "change", "says"),
    [
        (FaultKind.DROP, {"source": 512}, "source 512 is no instance"),
        (FaultKind.DROP, {"destination": -1}, "destination -1 is no instance"),
        (FaultKind.DROP, {"vector": 256}, "vector 0x100 has more than 8 bits"),
        (FaultKind.DROP, {"share": 0.5}, "both a share and an every"),
        (FaultKind.DROP, {"every": 0, "share": 0.0}, "a share of 0"),
        (FaultKind.DROP, {"every": 0, "share": 1.5}, "a share of 1.5"),
        (FaultKind.DROP, {"every": 0, "share": float("nan")}, "a share of nan"),
        (FaultKind.DROP, {"limit": MAX_STRIKES + 1}, "limit 4294967297"),
        (FaultKind.DROP, {"for_us": MAX_FAULT_US + 1}, "lasts for 86400 s"),
        (FaultKind.DROP, {"seed": 1 << 64}, "more than 64 bits"),
        (FaultKind.DELAY, {"delay_us": 0, "jitter_us": 0}, "by 0 ms"),
        (FaultKind.DELAY, {"delay_us": MAX_DELAY_US}, "by 1000.01 ms"),
        (FaultKind.DELAY, {"delay_us": -1}, "a time below 0"),
        (FaultKind.REORDER, {"every": 1}, "more than every second frame"),
        (FaultKind.REORDER, {"every": 0, "share": 0.6}, "more than every second frame"),
        (FaultKind.FLAP, {"period_us": MIN_PERIOD_US - 1}, "a cut every 49.999 ms"),
    ],
)
def test_a_fault_that_cannot_be_is_refused(
    kind: FaultKind, change: dict[str, Any], says: str
) -> None:
    with pytest.raises(InvalidArgumentError, match=says) as caught:
        replace(POSSIBLE[kind], **change).check()
    assert caught.value.advice


def test_a_fault_says_in_one_line_what_it_does() -> None:
    assert [str(fault) for fault in POSSIBLE.values()] == [
        "drop from 0 to 511, vector 0xff, 1 in 2, 3 at most",
        "delay link of 1, 0.005 ms and up to 0.006 ms more",
        "duplicate link of any, upward, a share of 0.25, 4294967296 at most",
        "reorder link of any, downward, 1 in 2",
        "partition link of any",
        "flap link of 0, a cut every 50 ms, 9 at most",
        "pause instance 2",
    ]
    assert {FaultKind.DROP, FaultKind.PAUSE} | LINK_KINDS == set(FaultKind)


@pytest.mark.parametrize(
    ("message", "says"),
    [
        (pb.Fault(), "fault kind 0"),
        (pb.Fault(kind=99), "fault kind 99"),  # type: ignore[arg-type] # as a peer may send it
        (pb.Fault(kind=pb.FAULT_KIND_PARTITION, direction=7), "link direction 7"),  # type: ignore[arg-type]
        (pb.Fault(kind=pb.FAULT_KIND_FLAP), "a cut every 0 ms"),
    ],
)
def test_a_message_that_is_no_fault_is_refused(message: pb.Fault, says: str) -> None:
    with pytest.raises(InvalidArgumentError, match=says):
        fault_from_pb(message)
