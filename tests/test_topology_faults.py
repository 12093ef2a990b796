"""``[[faults]]`` of a topology: what is injected from the start, and how it is refused."""

from pathlib import Path

import pytest

from mkrpc.errors import TopologyError
from mkrpc.fault import Direction, Fault, FaultKind
from mkrpc.limits import MAX_FAULTS
from mkrpc.topology import Topology

MACHINE = """\
[[instances]]
id = 0
cpu_count = 1
[[instances]]
id = 5
name = "web"
cpu_count = 1
"""


def load(tmp_path: Path, text: str) -> Topology:
    path = tmp_path / "machine.toml"
    path.write_text(MACHINE + text)
    return Topology.load(path)


def test_faults_are_those_of_the_command_line(tmp_path: Path) -> None:
    topology = load(
        tmp_path,
        """\
[[faults]]
kind = "drop"
source = "web"
destination = 0
vector = 0xEA
every = 10
limit = 3
for_s = 1.5

[[faults]]
kind = "delay"
instance = "web"
direction = "up"
delay_ms = 20
jitter_ms = 0.5
seed = 7

[[faults]]
kind = "flap"
period_ms = 200
""",
    )
    expected = [
        Fault(
            kind=FaultKind.DROP,
            source=5,
            destination=0,
            vector=0xEA,
            every=10,
            limit=3,
            for_us=1_500_000,
        ),
        Fault(
            kind=FaultKind.DELAY,
            instance=5,
            direction=Direction.UP,
            delay_us=20_000,
            jitter_us=500,
            seed=7,
        ),
        Fault(kind=FaultKind.FLAP, period_us=200_000),
    ]
    assert [Fault.of(table) for table in topology.injected()] == expected
    assert Topology.from_dict(topology.to_dict()) == topology


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("kind = 'drop'\ndelay_ms = 5", "line 8: faults[0]: drop: has no delay"),
        ("kind = 'delay'", "line 8: faults[0]: delay: by 0 ms"),
        ("kind = 'drop'\nsource = 'mk7'", "line 10: faults[0].source: no instance 'mk7'"),
        ("kind = 'drop'\ndestination = 1", "line 10: faults[0].destination: no instance 1"),
        ("kind = 'drop'\nsource = true", "faults[0].source: should be an instance's id or name"),
        ("kind = 'pause'", "line 9: faults[0].kind: "),
        ("kind = 'drop'\nshare = 'half'", "line 10: faults[0].share: should be a number"),
        ("kind = 'drop'\nshare = 0", "line 10: faults[0].share: should be greater than 0"),
        ("kind = 'drop'\nevery = -1", "line 10: faults[0].every: "),
        ("kind = 'drop'\nvectr = 1", "unknown key, did you mean vector?"),
        ("kind = 'flap'\nperiod_ms = 1", "line 8: faults[0]: flap: a cut every 1 ms"),
        ("source = 0", "line 8: faults[0].kind: missing"),
    ],
)
def test_a_bad_fault_is_told_with_its_line_and_a_way_out(
    tmp_path: Path, text: str, says: str
) -> None:
    with pytest.raises(TopologyError) as caught:
        load(tmp_path, f"[[faults]]\n{text}\n")
    assert says in str(caught.value)
    assert caught.value.advice


def test_there_is_a_limit(tmp_path: Path) -> None:
    with pytest.raises(TopologyError, match="at most 64 entries"):
        load(tmp_path, '[[faults]]\nkind = "partition"\n' * (MAX_FAULTS + 1))
