"""The threads that answer beats: how many wait, who is told so, and what they never get between.

Each test holds the threads where it wants them, by the lock of a look or by a gate of its own.
"""

import gc
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest

from mkrpc.frame_codec import BEAT
from mkrpc.interconnect import beats as beats_module
from mkrpc.interconnect import timekeeping
from mkrpc.interconnect.beats import THREADS, BeatServer
from mkrpc.interconnect.timekeeping import Timekeeper
from mkrpc.transport.address import Address, parse
from mkrpc.transport.supervision import EXIT_BUG
from mkrpc.v1 import interconnect_pb2 as pb

PATIENCE_S = 20.0
SHORT_S = 0.1
"""In which a thread that is not held would have answered."""

Call = Callable[[bytes], Any]


def incarnation(number: int) -> bytes:
    return bytes([number]) * 16


@pytest.fixture
def started() -> Iterator[Callable[[BeatServer], Call]]:
    """Start a server: what sends it a beat, and gives the future of its answer."""
    channels: list[grpc.Channel] = []
    with tempfile.TemporaryDirectory(prefix="mk", dir="/tmp") as directory:

        def start(server: BeatServer) -> Call:
            target = parse(server.start(Address(path=f"{directory}/s"))).connect_target
            channels.append(grpc.insecure_channel(target))
            method: Any = channels[-1].unary_unary(BEAT)

            def beat(incarnation: bytes) -> Any:
                message = pb.BeatRequest(incarnation=incarnation)
                return method.future(message.SerializeToString(), timeout=PATIENCE_S)

            return beat

        yield start
        for channel in channels:
            channel.close()


@pytest.fixture
def beats() -> Iterator[BeatServer]:
    server = BeatServer()
    yield server
    server.stop()


class Gate(set[bytes]):
    """Incarnations that nobody finds before ``go``; ``reached`` says that a thread is there."""

    def __init__(self, *incarnations: bytes) -> None:
        super().__init__(incarnations)
        self.reached = threading.Event()
        self.go = threading.Event()

    def __contains__(self, key: object) -> bool:
        self.reached.set()
        assert self.go.wait(PATIENCE_S)
        return super().__contains__(key)


def test_beats_that_came_during_a_look_are_all_answered_after_it(
    beats: BeatServer, started: Callable[[BeatServer], Call]
) -> None:
    everybody = {incarnation(number) for number in range(3 * THREADS)}
    beats.open = set(everybody)
    beat = started(beats)
    with beats.lock:
        heard = beats.take_heard()
        answers = [beat(each) for each in sorted(everybody)]
        assert heard == set()
    assert [answer.result() for answer in answers] == [b""] * len(everybody)
    with beats.lock:
        heard = beats.take_heard()
        assert heard == everybody


def test_a_beat_too_many_is_refused_at_once_and_the_others_are_answered(
    beats: BeatServer, started: Callable[[BeatServer], Call], monkeypatch: pytest.MonkeyPatch
) -> None:
    most = THREADS + 2
    monkeypatch.setattr(beats_module, "MAX_BEATS", most)
    beats.open = {incarnation(number) for number in range(most + 1)}
    beat = started(beats)
    ended: queue.SimpleQueue[Any] = queue.SimpleQueue()
    with beats.lock:
        answers = [beat(incarnation(number)) for number in range(most + 1)]
        for answer in answers:
            answer.add_done_callback(ended.put)
        refused = ended.get(timeout=PATIENCE_S)
        assert refused.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert [answer for answer in answers if answer.done()] == [refused]
    others = [answer for answer in answers if answer is not refused]
    assert [answer.code() for answer in others] == [grpc.StatusCode.OK] * most
    # It beats again, and there is room once the threads are done with what they have answered.
    again = incarnation(answers.index(refused))
    deadline_s = time.monotonic() + PATIENCE_S
    while (code := beat(again).code()) is grpc.StatusCode.RESOURCE_EXHAUSTED:
        assert time.monotonic() < deadline_s
    assert code is grpc.StatusCode.OK


def test_to_stop_waits_for_no_thread_and_leaves_none(
    started: Callable[[BeatServer], Call],
) -> None:
    """The event loop stops it: it must not wait for a thread that may wait for the loop."""
    before = set(threading.enumerate())
    server = BeatServer()
    gate = server.open = Gate(incarnation(1))
    beat = started(server)
    answers = [beat(incarnation(1)) for _ in range(2 * THREADS)]
    assert gate.reached.wait(PATIENCE_S)
    server.stop()
    told = {answer.code() for answer in answers}
    assert told <= {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}
    gate.go.set()
    del server
    deadline_s = time.monotonic() + PATIENCE_S
    for thread in set(threading.enumerate()) - before:
        while thread.is_alive():
            assert time.monotonic() < deadline_s, thread.name
            # It ends when nobody has its pool any more; those that are at work still have.
            gc.collect()
            thread.join(SHORT_S)


def test_no_beat_gets_between_the_end_of_a_lease_and_what_is_booked_of_it(
    machine: Any,
    beats: BeatServer,
    started: Callable[[BeatServer], Call],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Answered, it would hold a lease whose legs have been lost (design 3.3, rule 5)."""
    wire = machine((0,), (1,))
    wire.wait_until(wire.bus.lease_us - 1)
    alice = wire.peers[0]
    clock = Timekeeper(wire.bus, beats)
    beats.open = wire.bus.may_beat()
    beat = started(beats)
    decoded = threading.Event()
    decode = beats_module._decoded
    answers: list[Any] = []

    def decoding(request: bytes) -> Any:
        decoded.set()
        return decode(request)

    def at_the_end_of_the_lease() -> int:
        # Asked while the lock of the look is held.
        answers.append(beat(alice.incarnation))
        assert decoded.wait(PATIENCE_S)
        with pytest.raises(grpc.FutureTimeoutError):
            answers[0].result(timeout=SHORT_S)
        now_us: int = wire.bus.lease_us
        return 1000 * now_us

    monkeypatch.setattr(beats_module, "_decoded", decoding)
    with monkeypatch.context() as patch:
        patch.setattr(timekeeping.time, "monotonic_ns", at_the_end_of_the_lease)
        clock.tell()
    assert wire.bus.attached_ids() == []
    assert answers[0].code() is grpc.StatusCode.UNAVAILABLE
    assert alice.incarnation not in beats.open


def test_a_beat_that_was_answered_before_the_look_holds_its_lease(
    machine: Any,
    beats: BeatServer,
    started: Callable[[BeatServer], Call],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wire = machine((0,), (1,))
    wire.wait_until(wire.bus.lease_us - 1)
    alice = wire.peers[0]
    clock = Timekeeper(wire.bus, beats)
    beats.open = wire.bus.may_beat()
    assert started(beats)(alice.incarnation).code() is grpc.StatusCode.OK
    end_ns = 1000 * wire.bus.lease_us
    with monkeypatch.context() as patch:
        patch.setattr(timekeeping.time, "monotonic_ns", lambda: end_ns)
        clock.tell()
    assert wire.bus.attached_ids() == [0]
    assert beats.open == {alice.incarnation}


def test_a_thread_with_a_bug_ends_the_process_and_says_which() -> None:
    """gRPC would make an answer of it, and leases would end without anybody knowing why."""
    code = """
import sys, tempfile, grpc
from mkrpc.frame_codec import BEAT
from mkrpc.interconnect.beats import BeatServer
from mkrpc.transport.address import Address, parse

beats = BeatServer()
beats.open = None
with tempfile.TemporaryDirectory(prefix="mk", dir="/tmp") as directory:
    target = parse(beats.start(Address(path=f"{directory}/s"))).connect_target
    with grpc.insecure_channel(target) as channel:
        channel.unary_unary(BEAT)(b"", timeout=20)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == EXIT_BUG
    assert "a bug in the threads that answer beats" in done.stderr
    assert "TypeError" in done.stderr
