"""What a stream is told: of a request each, or of several in a row where the client takes that."""

from array import array
from collections import Counter
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mkrpc.client.bulk_sender import BulkSender
from mkrpc.errors import MkrpcError, ProtocolError
from mkrpc.interconnect import stream_answers
from mkrpc.interconnect.attachments import Pump
from mkrpc.interconnect.injection_stream import STREAM_REQUESTS, InjectionStreams
from mkrpc.interconnect.stream_answers import StreamAnswers
from mkrpc.outcome import Outcome
from mkrpc.v1 import control_pb2 as pb
from mkrpc.x86.icr import Shorthand, fixed, shorthand_word

CLIENT = b"client----------"
ALL = shorthand_word(Shorthand.ALL_INCLUDING_SELF, 0xEA)
WORDS = (fixed(0, 0xEA), fixed(1, 0x41), fixed(1, 0x05), fixed(2, 0xEA), fixed(9, 0xEA), ALL)


def words_of(*words: int) -> bytes:
    return array("Q", words).tobytes()


def answered(wire: Any, sizes: list[list[int]], *, each: bool, runs: bool) -> StreamAnswers:
    """The answers to groups of calls of one word each, and to calls of several in between."""
    answers = StreamAnswers()
    seq = 1
    for number, words in enumerate(sizes):
        asked: dict[str, Any] = {"client_id": CLIENT, "first_seq": seq, "resolved_below": 1}
        if number % 3 == 2:
            count = len(words)
            wire.bus.inject_words(
                **asked,
                words=words_of(*words),
                each=each,
                on_done=lambda tally, seq=seq, count=count: answers.add(
                    seq, count, tally, each=each
                ),
            )
        else:
            wire.bus.inject_singles(
                **asked,
                words=words_of(*words),
                each=each,
                on_done=partial(answers.add_singles, runs=runs),
            )
        seq += len(words)
    wire.settle()
    return answers


def response_of(answers: StreamAnswers) -> pb.InjectStreamResponse:
    told = answers.take()
    assert not answers
    response = pb.InjectStreamResponse.FromString(told)
    assert response.SerializeToString() == told, "not the bytes that protobuf makes"
    return response


SIZES = st.lists(st.lists(st.sampled_from(WORDS), min_size=1, max_size=9), min_size=1, max_size=5)


@given(sizes=SIZES, each=st.booleans())
def test_runs_say_what_requests_alone_say(machine: Any, sizes: list[list[int]], each: bool) -> None:
    told = {}
    for runs in (False, True):
        response = response_of(answered(machine((0, 1), (2,)), sizes, each=each, runs=runs))
        numbers = [n for run in response.answered for n in range(run.first, run.last + 1)]
        outcomes = {
            row.first_seq + at: (outcome, row.counts_only)
            for row in response.outcomes
            for at, outcome in enumerate(row.outcomes)
        }
        several = {
            word.seq: sorted((leg.apic_id, leg.outcome, leg.count) for leg in word.legs)
            for row in response.outcomes
            for word in row.several
        }
        legs = {(leg.apic_id, leg.instance_id, leg.outcome): leg.count for leg in response.legs}
        told[runs] = sorted(numbers), outcomes, several, legs
    assert told[True] == told[False]
    assert told[True][0] == list(range(1, sum(map(len, sizes)) + 1))


def test_requests_that_follow_one_another_are_one_row(machine: Any) -> None:
    sizes = [[fixed(0, 0xEA)] * 4, [fixed(1, 0xEA)] * 5]
    wire = machine((0, 1), (2,))
    response = response_of(answered(wire, sizes, each=True, runs=True))
    assert [(run.first, run.last) for run in response.answered] == [(1, 9)]
    assert [row.outcomes for row in response.outcomes] == [bytes([Outcome.DELIVERED] * 9)]
    alone = response_of(answered(machine((0, 1), (2,)), sizes, each=True, runs=False))
    assert [(run.first, run.last) for run in alone.answered] == [(n, n) for n in range(1, 10)]


@pytest.mark.parametrize("asked", [(True, False), (False, True)])
def test_who_did_not_ask_for_runs_is_told_of_each_request(machine: Any, asked: Any) -> None:
    """Whatever was asked for with the requests beside it, which are told in the same response."""
    bus = machine((0,)).bus
    answers = StreamAnswers()
    for number, runs in enumerate(asked):
        bus.inject_singles(
            client_id=CLIENT,
            first_seq=1 + 3 * number,
            resolved_below=1,
            words=words_of(*[WORDS[4]] * 3),
            on_done=partial(answers.add_singles, runs=runs),
        )
    told = [(run.first, run.last) for run in response_of(answers).answered]
    alone = [[(seq, seq) for seq in range(first, first + 3)] for first in (1, 4)]
    together = [[(1, 3)], [(4, 6)]]
    assert told == [run for n, runs in enumerate(asked) for run in (together if runs else alone)[n]]


def test_what_is_over_waits_for_the_next_response(
    machine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With each response how all of the words that it names have ended, and nothing of others."""
    monkeypatch.setattr(stream_answers, "MAX_RESPONSE_LEGS", 1)
    sizes = [[fixed(0, 0xEA)] * 2, [fixed(1, 0xEA), ALL], [fixed(2, 0x41)] * 3]
    answers = answered(machine((0, 1), (2,)), sizes, each=False, runs=True)
    sender = BulkSender(CLIENT)
    sender.opened()
    sender.received(pb.InjectStreamResponse(window=100, requests=100).SerializeToString())
    for number, words in enumerate(sizes):
        for part in [words] if number == 2 else [[word] for word in words]:
            sender.append(part)
            assert sender.next_request() is not None
    responses = 0
    while answers:
        sender.received(answers.take())
        responses += 1
        legs = Counter({leg.apic_id: leg.count for leg in sender.result.legs})
        assert sender.answered <= legs.total()
    assert responses > 1
    assert sender.result.written == 7
    assert sum(leg.count for leg in sender.result.legs) == 9


@pytest.mark.parametrize("runs", [False, True])
def test_an_answer_counts_until_it_is_told(machine: Any, runs: bool) -> None:
    """So a client that reads none comes to the end of its window."""
    answers = answered(
        machine((0,)), [[WORDS[0]] * 3, [WORDS[4]] * 2, [WORDS[0]] * 4], each=True, runs=runs
    )
    assert (answers.requests, answers.words) == (3 + 2 + 1, 9)
    while answers:
        answers.take()
    assert (answers.requests, answers.words) == (0, 0)


class DeafClient:
    """A byte stream in memory, of a client that reads nothing."""

    peer = "a test"
    writable = True
    error: MkrpcError | None = None

    def send(self, frame: bytes) -> None:
        self.writable = False

    def close(self, error: MkrpcError | None = None) -> None:
        self.error = error


async def test_a_client_that_reads_no_answers_comes_to_the_end_of_its_window(machine: Any) -> None:
    stream = DeafClient()
    link = InjectionStreams(Pump(machine((0,)).bus)).open(stream)
    for seq in range(1, STREAM_REQUESTS + 2):
        assert stream.error is None
        request = pb.InjectStreamRequest(client_id=CLIENT, first_seq=seq, words=[WORDS[4]])
        link.on_frame(stream, request.SerializeToString())
    assert isinstance(stream.error, ProtocolError)
    assert "513 requests have no answer" in str(stream.error)
