"""Bulk injection through real processes: once each, also when the interconnect is killed."""

import os
import signal
import threading

import grpc
import pytest

from mkrpc.client import bulk, bulk_sender
from mkrpc.errors import InvalidArgumentError
from mkrpc.interconnect.injection_stream import STREAM_WINDOW
from mkrpc.outcome import Outcome
from mkrpc.transport.address import parse
from mkrpc.v1 import control_pb2 as pb
from mkrpc.v1 import control_pb2_grpc
from mkrpc.x86.icr import Shorthand, fixed, shorthand_word

pytestmark = pytest.mark.e2e

CPUS = 4


def round_robin(count):
    return [fixed(number % CPUS, 0xEA) for number in range(count)]


def inject(mk_cluster, words):
    with mk_cluster.client.bulk() as stream:
        stream.send(words)


def legs_of(result):
    return {(leg.apic_id, leg.outcome): leg.count for leg in result.legs}


def test_every_word_is_handled_and_booked(mk_cluster, assert_mirrors, read_cal):
    before = [read_cal(mk_cluster, instance) for instance in (0, 1)]
    with mk_cluster.client.bulk() as stream:
        stream.send(round_robin(4000))
        for word in round_robin(400):
            stream.send(word)
        result = stream.flush()
        assert result.all_arrived
        assert result.written == 4400
        assert legs_of(result) == {(cpu, Outcome.DELIVERED): 1100 for cpu in range(CPUS)}
        stream.send(fixed(0, 0xEA))
        assert stream.flush().written == 4401
    assert_mirrors(mk_cluster)
    after = [read_cal(mk_cluster, instance) for instance in (0, 1)]
    risen = [sum(now) - sum(then) for now, then in zip(after, before, strict=True)]
    assert risen == [2201, 2200]


def refused(mk_cluster, requests):
    """How a stream of these requests ends, which are sent whatever the credit is."""
    with grpc.insecure_channel(parse(mk_cluster.address).connect_target) as channel:
        stub = control_pb2_grpc.ControlStub(channel)
        with pytest.raises(grpc.RpcError) as caught:
            list(stub.InjectStream(iter(requests)))
    return caught.value.details()


def test_outcomes_word_by_word(mk_cluster):
    everybody = shorthand_word(Shorthand.ALL_INCLUDING_SELF, 0xEA)
    with mk_cluster.client.bulk(each=True) as stream:
        stream.send([fixed(1, 0xEA), fixed(77, 0xEA), everybody])
        stream.flush()
        told = stream.take_outcomes()
        assert stream.take_outcomes() == []
    by_number = {
        each.first + index: outcome for each in told for index, outcome in enumerate(each.outcomes)
    }
    assert by_number == {1: Outcome.DELIVERED, 2: Outcome.REJECTED_NO_SUCH_APIC, 3: None}
    assert [leg.apic_id for each in told for leg in each.several.get(3, ())] == list(range(CPUS))


def test_a_word_that_cannot_be_ends_the_stream_by_name(mk_cluster):
    with pytest.raises(InvalidArgumentError, match="reserved bits"):
        inject(mk_cluster, [fixed(1, 0xEA), 1 << 20])


def test_any_grpc_client_can_stream(mk_cluster):
    """With the published messages alone, however its encoder writes the words."""
    words = round_robin(8)
    by_number = b"".join(b"\x19" + word.to_bytes(8, "little") for word in words[4:])
    requests = [
        pb.InjectStreamRequest(client_id=os.urandom(16), first_seq=1, words=words[:4]),
        pb.InjectStreamRequest.FromString(b"\x10\x05" + by_number),
    ]
    assert list(requests[1].words) == words[4:]
    wire = [requests[0].SerializeToString(), b"\x10\x05" + by_number]
    has_answers = threading.Event()

    def sending():
        yield from wire
        has_answers.wait()

    answered = 0
    with grpc.insecure_channel(parse(mk_cluster.address).connect_target) as channel:
        call = channel.stream_stream("/mkrpc.v1.Control/InjectStream")
        for message in call(sending()):
            answer = pb.InjectStreamResponse.FromString(message)
            answered += sum(run.last - run.first + 1 for run in answer.answered)
            if answered == len(words):
                has_answers.set()
    assert answered == len(words)


def test_a_stream_is_one_clients(mk_cluster):
    words = [fixed(0, 0xEA)]
    requests = [
        pb.InjectStreamRequest(client_id=client * 16, first_seq=first, words=words)
        for client, first in ((b"b", 1), (b"d", 2))
    ]
    assert "another client id" in refused(mk_cluster, requests)


# Nor is it to be dead before that.
@pytest.mark.mk_topology(lease_s=60)
def test_who_goes_beyond_the_credit_loses_the_stream(mk_cluster):
    """While an instance is stopped, nothing is answered."""
    size = 4096
    requests = [
        pb.InjectStreamRequest(client_id=b"e" * 16, first_seq=first, words=[fixed(2, 0xEA)] * size)
        for first in range(1, STREAM_WINDOW + 2, size)
    ]
    mk_cluster.client.pause_instance(1)
    try:
        assert f"{STREAM_WINDOW + size} words in 5 requests" in refused(mk_cluster, requests)
    finally:
        mk_cluster.client.resume_instance(1)
    mk_cluster.client.quiesce()
    assert mk_cluster.client.ledger().balanced


def test_one_word_a_message_is_handled_and_booked(mk_cluster, monkeypatch, assert_mirrors):
    """Requests that come together are made together, and each has its own answer."""
    monkeypatch.setattr(bulk_sender, "MAX_REQUEST_WORDS", 1)
    count = 3000
    words = round_robin(count)
    words[7::100] = [fixed(77, 0xEA)] * 30
    with mk_cluster.client.bulk(each=True) as stream:
        stream.send(words)
        result = stream.flush()
        told = stream.take_outcomes()
    assert result.written == sum(leg.count for leg in result.legs) == count
    outcomes = {each.first + n: what for each in told for n, what in enumerate(each.outcomes)}
    nobody, delivered = Outcome.REJECTED_NO_SUCH_APIC, Outcome.DELIVERED
    assert [outcomes[seq] for seq in range(1, count + 1)] == [
        nobody if word == fixed(77, 0xEA) else delivered for word in words
    ]
    assert len(told) < count, "answers come in runs"
    assert_mirrors(mk_cluster)
    assert mk_cluster.client.ledger().balanced


@pytest.fixture(params=[(4096, 30_000), (1, 8000)], ids=["many", "one"])
def count(request, monkeypatch):
    """How many words; with many in a message, and one."""
    words_a_message, count = request.param
    monkeypatch.setattr(bulk_sender, "MAX_REQUEST_WORDS", words_a_message)
    # However long another interconnect takes to start where there is much else to do.
    monkeypatch.setattr(bulk, "RESTART_PATIENCE_S", 60.0)
    return count


# Nor may an instance be taken for dead meanwhile.
@pytest.mark.mk_topology(lease_s=60)
def test_words_happen_once_over_a_killed_interconnect(mk_cluster, count, assert_mirrors, read_cal):
    client = mk_cluster.client
    with client.bulk() as stream:
        stream.send(round_robin(count // 2))
        while not stream.result.written:
            continue
        os.kill(client.cluster().interconnect_pid, signal.SIGKILL)
        stream.send(round_robin(count // 2))
        result = stream.flush(timeout_s=60)
    assert result.written == count
    assert sum(leg.count for leg in result.legs) == count
    assert client.cluster().restarts == 1
    assert_mirrors(mk_cluster)
    handled = sum(sum(read_cal(mk_cluster, instance)) for instance in (0, 1))
    assert handled == sum(leg.count for leg in result.legs if leg.outcome is Outcome.DELIVERED)
