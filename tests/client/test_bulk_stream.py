"""A bulk stream's threads: whoever writes, whoever sends, and an interconnect that breaks off."""

import itertools
import queue
import threading

import grpc
import pytest

from mkrpc.client.bulk import BulkStream
from mkrpc.client.bulk_sender import BulkSender
from mkrpc.errors import ClusterStateError, InvalidArgumentError, MkrpcError, UnavailableError
from mkrpc.v1 import control_pb2 as pb
from mkrpc.v1 import types_pb2

PATIENCE_S = 60


class Broken(grpc.RpcError):
    """The connection is gone."""

    def code(self):
        return grpc.StatusCode.UNAVAILABLE

    def details(self):
        return "Socket closed"

    def trailing_metadata(self):
        return ()


class Interconnect:
    """Answers every request on a thread of its own, but one: ``breaks_after`` so many."""

    def __init__(self, breaks_after=None):
        self.breaks_after = breaks_after
        self.words = {}
        self.requests = 0

    def call(self, requests):
        return Call(self, requests, self.breaks_after)


class Call:
    def __init__(self, interconnect, requests, breaks_after):
        self._told = queue.SimpleQueue()
        interconnect.breaks_after = None
        greeting = pb.InjectStreamResponse(window=16_384, requests=512)
        self._told.put(greeting.SerializeToString())

        def take():
            legs = 0
            for number, message in enumerate(requests):
                request = pb.InjectStreamRequest.FromString(message)
                interconnect.requests += 1
                numbered = enumerate(request.words, request.first_seq)
                for seq, word in numbered:
                    known = interconnect.words.setdefault(seq, word)
                    assert known == word, "another word under the same number"
                if number == breaks_after:
                    self._told.put(Broken())
                    return
                legs += len(request.words)
                answer = pb.InjectStreamResponse()
                last = request.first_seq + len(request.words) - 1
                answer.answered.add(first=request.first_seq, last=last)
                answer.legs.add(
                    apic_id=1, instance_id=0, outcome=types_pb2.OUTCOME_DELIVERED, count=legs
                )
                self._told.put(answer.SerializeToString())
            self._told.put(None)

        threading.Thread(target=take, daemon=True).start()

    def __iter__(self):
        return self

    def __next__(self):
        told = self._told.get(timeout=PATIENCE_S)
        if told is None:
            raise StopIteration
        if isinstance(told, grpc.RpcError):
            raise told
        return told

    def cancel(self):
        self._told.put(None)


def stream_to(interconnect):
    def typed(error: grpc.RpcError) -> MkrpcError:
        return UnavailableError(str(error.details()))

    return BulkStream(
        BulkSender(b"c" * 16), open_call=interconnect.call, typed=typed, timeout_s=PATIENCE_S
    )


@pytest.mark.parametrize("breaks_after", [None, 0, 3])
def test_words_of_many_threads_written_one_by_one_all_arrive_once(breaks_after):
    interconnect = Interconnect(breaks_after)
    counts, writers = itertools.count(1), 4
    with stream_to(interconnect) as stream:

        def write():
            for _ in range(5000):
                stream.send(next(counts))

        threads = [threading.Thread(target=write) for _ in range(writers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        result = stream.flush()
    assert result.written == sum(leg.count for leg in result.legs) == writers * 5000
    assert sorted(interconnect.words.values()) == list(range(1, writers * 5000 + 1))
    assert interconnect.requests < writers * 5000, "what gathers goes as one"


def test_a_word_after_everything_was_answered_wakes_whoever_sends():
    with stream_to(Interconnect()) as stream:
        for number in range(1, 200):
            stream.send(number)
            assert stream.flush().written == number


def test_what_is_no_word_is_refused_and_the_stream_goes_on():
    with stream_to(Interconnect()) as stream:
        stream.send(5)
        for word in (-1, 1 << 64):
            with pytest.raises(InvalidArgumentError):
                stream.send(word)
        stream.send(6)
        assert stream.flush().written == 2


def test_nothing_is_taken_after_the_end():
    stream = stream_to(Interconnect())
    stream.send(5)
    stream.flush()
    stream.close()
    with pytest.raises(ClusterStateError):
        stream.send(6)
