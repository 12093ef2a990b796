"""What a person sees of a link that is in trouble: its age, and what is left of the lease."""

from typing import Any

from mkrpc.interconnect.answers import Switches, cluster_to_pb
from mkrpc.interconnect.hosts import HostRegistry
from mkrpc.link.frames import UpFrame
from mkrpc.v1 import control_pb2 as pb


def details(wire: Any) -> list[tuple[int, str]]:
    answer = cluster_to_pb(
        wire.bus, HostRegistry(7), Switches(), address="here", interconnect_pid=1
    )
    return [(instance.state, instance.detail) for instance in answer.instances]


def test_an_instance_whose_link_stands_and_beats_needs_no_words(machine: Any) -> None:
    wire = machine((0,))
    wire.wait_until(1_000_000)
    assert details(wire) == [(pb.INSTANCE_STATE_ACTIVE, "")]


def test_one_that_missed_two_beats_is_silent(machine: Any) -> None:
    wire = machine((0,))
    wire.wait_until(1_000_001)
    assert details(wire) == [
        (pb.INSTANCE_STATE_ACTIVE, "silent for 1.0 s; its lease ends in 2.0 s")
    ]
    wire.bus.receive(wire.peers[0].session, UpFrame())
    assert details(wire) == [(pb.INSTANCE_STATE_ACTIVE, "")]


def test_one_without_a_stream_is_disconnected_until_its_lease_ends(machine: Any) -> None:
    wire = machine((0,))
    wire.wait_until(400_000)
    wire.bus.receive(wire.peers[0].session, UpFrame())
    wire.wait_until(500_000)
    wire.bus.disconnect(wire.peers[0].session, 1)
    wire.wait_until(1_600_000)
    assert details(wire) == [
        (pb.INSTANCE_STATE_ACTIVE, "disconnected for 1.1 s; its lease ends in 1.8 s")
    ]
    wire.wait_until(3_400_000)
    assert details(wire) == [
        (pb.INSTANCE_STATE_FAILED, "lease expired: silent for 3 s, its link broken")
    ]
