"""Attaching and leaving: ids belong to one at a time, and a new life is a new incarnation."""

from dataclasses import replace
from typing import Any

import pytest

from mkrpc.errors import AlreadyExistsError, InvalidArgumentError, NotFoundError, ProtocolError
from mkrpc.interconnect import registry
from mkrpc.interconnect.end_reason import MAX_REASON
from mkrpc.interconnect.lease import LEASE_US, granted_us
from mkrpc.limits import MAX_CPUS, MAX_INSTANCE_ID
from mkrpc.link.frames import NOBODY, WIRE_VERSION, Welcome
from mkrpc.link.moved import NOT_TOLD_YET, Moved
from mkrpc.trace import InstanceAttached, InstanceDetached, InstanceRefused


def test_an_instance_is_welcomed_and_listed(machine: Any) -> None:
    wire = machine((0, 1), (8,))
    assert wire.bus.welcome(wire.peers[0].session) == Welcome(
        WIRE_VERSION, 7, 1, lease_us=granted_us(LEASE_US), born=2, roster=3
    )
    assert [(r.instance_id, r.attached, r.reason) for r in wire.bus.instances()] == [
        (0, True, ""),
        (1, True, ""),
    ]
    assert wire.bus.attached_ids() == [0, 1]
    assert wire.bus.attached_names() == {0: "kernel0", 1: "kernel1"}
    assert wire.bus.apic_ids(0) == [0, 1]
    assert wire.bus.cpu_owner(8) == (wire.peers[1].session, 0)


def test_a_live_instance_id_is_refused_and_its_owner_named_and_unharmed(machine: Any) -> None:
    wire = machine((0,), (1,))
    with pytest.raises(AlreadyExistsError, match=r"instance id 1 belongs to 'kernel1' \(pid 1002"):
        wire.attach(1, (9,))
    assert wire.bus.session(1) is wire.peers[1].session


def test_a_taken_apic_id_is_refused_and_its_owner_named(machine: Any) -> None:
    wire = machine((0, 1), (2,))
    with pytest.raises(AlreadyExistsError, match=r"APIC id 1 belongs to CPU 1 of instance 0"):
        wire.attach(5, (7, 1))
    assert wire.bus.attached_ids() == [0, 1]
    with pytest.raises(NotFoundError):
        wire.bus.cpu_owner(7)


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"wire_version": 9}, ProtocolError, "version 9"),
        ({"instance_id": MAX_INSTANCE_ID + 1}, InvalidArgumentError, "id 512 is out of range"),
        ({"instance_id": -1}, InvalidArgumentError, "out of range"),
        ({"roster": 1 << 62}, InvalidArgumentError, "counted to more than"),
        ({"born": 1 << 62}, InvalidArgumentError, "counted to more than"),
        ({"sent": 1 << 62}, InvalidArgumentError, "counted to more than"),
        ({"generation": 1 << 62}, InvalidArgumentError, "counted to more than"),
        ({"incarnation": b"short"}, InvalidArgumentError, "incarnation of 5 bytes"),
        ({"cpus": ()}, InvalidArgumentError, "has 0 CPUs"),
        ({"name": "x" * 65}, InvalidArgumentError, "65 characters"),
        ({"name": "web\x1b[31m"}, InvalidArgumentError, "cannot be printed"),
    ],
)
def test_a_hello_that_cannot_be_is_refused_by_name(
    machine: Any, changes: dict[str, Any], error: type[Exception], words: str
) -> None:
    wire = machine((0,))
    with pytest.raises(error, match=words):
        wire.bus.attach(replace(wire.hello(1, (4, 5)), **changes))
    assert wire.bus.attached_ids() == [0]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"cpu": 1}, "not numbered"),
        ({"cpu": 2}, "not numbered"),
        ({"apic_id": 5}, "one APIC id to two CPUs"),
        ({"apic_id": NOBODY}, "which is no id"),
        ({"mode": 3}, "APIC mode 3"),
        ({"xapic_id": 256}, "wider than the register"),
        ({"ldr": 1 << 32}, "wider than the register"),
    ],
)
def test_cpus_that_cannot_be_are_refused(machine: Any, wrong: dict[str, int], words: str) -> None:
    wire = machine((0,))
    hello = wire.hello(1, (4, 5))
    cpus = (replace(hello.cpus[0], **wrong), hello.cpus[1])
    with pytest.raises(InvalidArgumentError, match=words):
        wire.bus.attach(replace(hello, cpus=cpus))


def test_an_instance_has_a_limit_of_cpus(machine: Any) -> None:
    wire = machine()
    wire.bus.attach(wire.hello(0, tuple(range(MAX_CPUS))))
    with pytest.raises(InvalidArgumentError, match="513 CPUs"):
        wire.bus.attach(wire.hello(1, tuple(range(1000, 1001 + MAX_CPUS))))


def test_an_incarnation_is_never_reused_while_it_lives_or_after(machine: Any) -> None:
    """Rule 1 of design 3.3; memory of it is bounded, and the bound has a name."""
    wire = machine((0,))
    hello = wire.peers[0].hello
    with pytest.raises(ProtocolError, match="used before"):
        wire.bus.attach(replace(hello, instance_id=3))
    wire.peers[0].die()
    with pytest.raises(ProtocolError, match="used before"):
        wire.bus.attach(hello)


def test_the_oldest_incarnation_is_forgotten_at_the_limit(
    machine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "MAX_INCARNATIONS", 2)
    wire = machine((0,))
    for _ in range(2):
        wire.peers[-1].die()
        wire.peers.append(wire.attach(0, (0,)))
    assert not wire.bus._registry.knows_incarnation(wire.peers[0].incarnation)
    assert wire.bus._registry.knows_incarnation(wire.peers[1].incarnation)


def test_one_that_lives_is_remembered_however_many_came_after_it(
    machine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "MAX_INCARNATIONS", 2)
    wire = machine((0,))
    lives = wire.peers[0]
    for _ in range(3):
        wire.attach(1, (1,)).die()
    with pytest.raises(ProtocolError, match="used before"):
        wire.bus.attach(wire.hello(2, (2,), incarnation=lives.incarnation))
    wire.bus.disconnect(lives.session, lives.session.generation)
    again = replace(lives.hello, epoch=7, generation=1, born=lives.session.born)
    assert wire.bus.attach(again) is lives.session


def test_one_that_was_never_welcomed_says_nothing_of_roster_numbers(machine: Any) -> None:
    """The next one would be beyond what a hello may say, and nobody could come back."""
    wire = machine((0,))
    before = wire.bus.roster_number
    moved = (Moved(NOT_TOLD_YET, 0),)
    wire.bus.attach(wire.hello(1, (1,), roster=(1 << 62) - 1, moved=moved))
    assert wire.bus.roster_number == before + 2, "it began, and a CPU of it has moved"


def test_the_same_id_comes_back_as_a_new_incarnation_with_its_own_row(machine: Any) -> None:
    wire = machine((0,), (1,))
    old = wire.peers[1]
    wire.inject(0x1_0000_00EA)
    wire.settle()
    old.die("killed by signal 9")
    record = wire.bus.instances()[1]
    assert (record.attached, record.reason, record.incarnations) == (False, "killed by signal 9", 1)
    with pytest.raises(NotFoundError, match="killed by signal 9"):
        wire.bus.session(1)
    with pytest.raises(NotFoundError, match="instance 44 is not attached, and never was"):
        wire.bus.session(44)
    incarnation, accounts = wire.bus.mirrored(1)
    assert incarnation == old.incarnation
    assert accounts[0].vectors[0].delivered == 1, "the dead one's accounting is kept"
    new = wire.attach(1, (1,))
    record = wire.bus.instances()[1]
    assert (record.attached, record.incarnations) == (True, 2)
    assert wire.bus.mirrored(1) == (new.incarnation, wire.bus.mirrored(1)[1])
    assert wire.bus.mirrored(1)[1][0].vectors == []


def test_of_a_reason_one_printable_line_is_kept(machine: Any) -> None:
    """The last words of an instance stand in every refusal of it, and in the books."""
    wire = machine((0,), (1,))
    wire.peers[0].die("left: \x1b[31mred\nand more")
    wire.peers[1].die("left: " + "x" * 1_000_000)
    with pytest.raises(NotFoundError, match=r"left: \?\[31mred\?and more"):
        wire.bus.session(0)
    with pytest.raises(NotFoundError) as caught:
        wire.bus.session(1)
    assert len(str(caught.value)) < 2 * MAX_REASON
    assert len(wire.peers[1].session.end_reason) == MAX_REASON


def test_detaching_twice_does_nothing(machine: Any) -> None:
    wire = machine((0,))
    wire.peers[0].die("first")
    wire.peers[0].die("second")
    assert wire.bus.instances()[0].reason == "first"


def test_coming_refused_and_going_are_traced(machine: Any) -> None:
    events: list[Any] = []
    wire = machine((0,), sink=events.append)
    with pytest.raises(AlreadyExistsError):
        wire.attach(0, (7,))
    wire.peers[0].die("killed")
    attached, refused, detached = events
    assert isinstance(attached, InstanceAttached)
    assert isinstance(refused, InstanceRefused)
    assert "belongs to 'kernel0'" in refused.reason
    assert isinstance(detached, InstanceDetached)
    assert detached.reason == "killed"
