"""Beats past the stream: answered by threads, counted before any lease can end (3.3, rule 5)."""

import tempfile
import threading
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest

from mkrpc.frame_codec import BEAT
from mkrpc.instance.heartbeat import Heartbeat
from mkrpc.interconnect.beats import BeatServer
from mkrpc.interconnect.lease import LEASE_US
from mkrpc.link.lease import MAX_BEAT_CORES, MAX_WHERE, PATIENCE_LEASES
from mkrpc.transport.address import MAX_PATH_BYTES, Address, beside, parse
from mkrpc.v1 import interconnect_pb2 as pb
from mkrpc.v1 import types_pb2

ALICE = b"a" * 16


@pytest.fixture
def near() -> Iterator[Address]:
    """Where a server could be, with a path short enough for a socket beside it."""
    with tempfile.TemporaryDirectory(prefix="mk", dir="/tmp") as directory:
        yield Address(path=f"{directory}/s")


@pytest.fixture
def beats() -> Iterator[BeatServer]:
    server = BeatServer()
    yield server
    server.stop()


@pytest.fixture
def call(beats: BeatServer, near: Address) -> Iterator[Callable[[bytes], bytes]]:
    """Send a request to the method as bytes."""
    target = parse(beats.start(near)).connect_target
    with grpc.insecure_channel(target) as channel:
        method: Any = channel.unary_unary(BEAT)
        yield lambda request: method(request, timeout=10)


def request(incarnation: bytes) -> bytes:
    return pb.BeatRequest(incarnation=incarnation).SerializeToString()


def test_a_beat_that_is_answered_is_remembered_until_the_next_look(
    beats: BeatServer, call: Callable[[bytes], bytes]
) -> None:
    beats.open = {ALICE}
    call(request(ALICE))
    with beats.lock:
        heard = beats.take_heard()
        assert heard == {ALICE}
    with beats.lock:
        heard = beats.take_heard()
        assert heard == set()


def test_what_a_beat_tells_is_kept_for_the_loop_once(
    beats: BeatServer, call: Callable[[bytes], bytes]
) -> None:
    beats.open = {ALICE}
    told = pb.BeatRequest(incarnation=ALICE, where="handlers.py:7 in hang")
    told.cores.add(cpu=3, mode=types_pb2.APIC_MODE_X2APIC, isr=b"\x04", handlers=[2])
    call(told.SerializeToString())
    (core,), where = beats.take_told()[ALICE]
    assert (core.cpu, core.isr, core.handlers, where) == (3, 4, (2,), "handlers.py:7 in hang")
    assert beats.take_told() == {}


@pytest.mark.parametrize("told", [{"cores": 1 + MAX_BEAT_CORES}, {"where": 1 + MAX_WHERE}])
def test_a_beat_that_tells_more_than_it_may_is_refused(
    beats: BeatServer, call: Callable[[bytes], bytes], told: dict[str, int]
) -> None:
    beats.open = {ALICE}
    message = pb.BeatRequest(incarnation=ALICE, where="x" * told.get("where", 0))
    for number in range(told.get("cores", 0)):
        message.cores.add(cpu=number, mode=types_pb2.APIC_MODE_X2APIC)
    with pytest.raises(grpc.RpcError):
        call(message.SerializeToString())
    assert beats.take_told() == {}
    with beats.lock:
        heard = beats.take_heard()
        assert heard == set()


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        (request(b"b" * 16), grpc.StatusCode.UNAVAILABLE),
        (request(b""), grpc.StatusCode.UNAVAILABLE),
        (b"\xff\xff", grpc.StatusCode.FAILED_PRECONDITION),
    ],
    ids=["a stranger's", "nobody's", "nonsense"],
)
def test_nobody_else_is_answered(
    beats: BeatServer, call: Callable[[bytes], bytes], wrong: bytes, code: grpc.StatusCode
) -> None:
    beats.open = {ALICE}
    with pytest.raises(grpc.RpcError) as refusal:
        call(wrong)
    assert refusal.value.code() is code
    with beats.lock:
        heard = beats.take_heard()
        assert heard == set()


def test_no_beat_is_answered_while_the_loop_looks_for_leases_that_ended(
    beats: BeatServer, call: Callable[[bytes], bytes]
) -> None:
    """Else an instance would count on a lease that has just been ended."""
    beats.open = {ALICE}
    answered = threading.Event()

    def beat() -> None:
        call(request(ALICE))
        answered.set()

    thread = threading.Thread(target=beat)
    with beats.lock:
        heard = beats.take_heard()
        thread.start()
        assert not answered.wait(0.2)
        assert heard == set()
    thread.join()
    with beats.lock:
        heard = beats.take_heard()
        assert heard == {ALICE}


def test_a_tcp_server_tells_a_port_and_a_socket_without_room_nothing(beats: BeatServer) -> None:
    told = beats.start(Address(host="127.0.0.1", port=1))
    assert beside(Address(host="localhost", port=1), told).host == "localhost"
    assert int(told[1:]) > 1
    assert BeatServer().start(Address(path="/" + "x" * (MAX_PATH_BYTES - 2))) == ""


def test_a_heartbeat_beats_while_the_lease_is_late(beats: BeatServer, near: Address) -> None:
    beats.open = {ALICE}
    where = parse(beats.start(near))
    asked = threading.Semaphore(0)
    now_us, renewed_us = [1_000_000], [1_000_000]

    def renewed() -> int:
        asked.release()
        return renewed_us[0]

    heartbeat = Heartbeat(
        where,
        ALICE,
        interval_s=0.01,
        timeout_s=10,
        now_us=lambda: now_us[0],
        renewed_us=renewed,
        describe=lambda: ([], "in a test"),
    )
    heartbeat.start()
    for _ in range(3):
        assert asked.acquire(timeout=10)
    assert heartbeat.answered_us == 0, "the answers over the stream come in time"
    now_us[0] += 1_000_000
    for _ in range(1000):
        assert asked.acquire(timeout=10)
        if heartbeat.answered_us:
            break
    assert heartbeat.answered_us == now_us[0]
    assert beats.take_told() == {ALICE: ((), "in a test")}
    heartbeat.stop()


def test_a_beat_past_the_link_renews_the_lease(machine: Any) -> None:
    wire = machine((0,), (1,))
    alice = wire.peers[0]
    wire.wait_until(1_000_000)
    wire.bus.advance(1_000_000, {alice.incarnation, b"nobody----------"})
    assert wire.bus.lease_left_us(alice.session) == LEASE_US
    wire.wait_until(LEASE_US)
    assert wire.bus.attached_ids() == [0]


def test_beats_that_come_with_the_end_of_the_lease_count_first(machine: Any) -> None:
    wire = machine((0,), (1,))
    alice = wire.peers[0]
    wire.wait_until(LEASE_US - 1)
    wire.bus.advance(LEASE_US, {alice.incarnation})
    assert wire.bus.attached_ids() == [0]


def test_one_without_a_link_is_not_kept_alive_by_beats_for_ever(machine: Any) -> None:
    wire = machine((0,), (1,))
    alice, bob = wire.peers
    wire.bus.disconnect(alice.session, 1)
    while wire.bus.may_beat() == {alice.incarnation, bob.incarnation}:
        wire.bus.advance(wire.bus.deadline_us, wire.bus.may_beat())
    assert wire.bus.now_us >= PATIENCE_LEASES * LEASE_US
    assert wire.bus.attached_ids() == [0, 1]
    while wire.bus.now_us < (PATIENCE_LEASES + 2) * LEASE_US:
        wire.bus.advance(wire.bus.deadline_us, wire.bus.may_beat())
    assert wire.bus.attached_ids() == [1]


@pytest.mark.parametrize("kept", ["unheard", "unanswered"])
def test_an_injected_fault_keeps_a_beat_or_its_answer_back(
    beats: BeatServer, call: Callable[[bytes], bytes], kept: str
) -> None:
    beats.open = {ALICE}
    setattr(beats, kept, frozenset({ALICE}))
    with pytest.raises(grpc.RpcError, match="an injected fault keeps"):
        call(request(ALICE))
    with beats.lock:
        heard = beats.take_heard()
        assert heard == ({ALICE} if kept == "unanswered" else set())
