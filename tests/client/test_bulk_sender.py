"""What a stream of injected words says: numbers, credit, and what it repeats."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mkrpc.client.answers import LegCount
from mkrpc.client.bulk_sender import MAX_REQUEST_WORDS, BulkSender
from mkrpc.errors import InvalidArgumentError, ProtocolError
from mkrpc.outcome import Outcome
from mkrpc.v1 import control_pb2 as pb
from mkrpc.v1 import types_pb2

CLIENT = b"c" * 16
DELIVERED = types_pb2.OUTCOME_DELIVERED


def greeted(window=1000, requests=100, roster=7, **options):
    sender = BulkSender(CLIENT, **options)
    greet(sender, window, requests, roster)
    return sender


def greet(sender, window=1000, requests=100, roster=7):
    sender.opened()
    greeting = pb.InjectStreamResponse(window=window, requests=requests, roster=roster)
    sender.received(greeting.SerializeToString())


def said(sender):
    found = []
    while (message := sender.next_request()) is not None:
        found.append(pb.InjectStreamRequest.FromString(message))
    return found


def answer(sender, *requests, legs=()):
    response = pb.InjectStreamResponse(roster=9)
    for request in requests:
        last = request.first_seq + len(request.words) - 1
        response.answered.add(first=request.first_seq, last=last)
    for apic_id, count in legs:
        response.legs.add(apic_id=apic_id, instance_id=0, outcome=DELIVERED, count=count)
    sender.received(response.SerializeToString())


def test_nothing_is_said_before_the_interconnect_has_told_the_credit():
    sender = BulkSender(CLIENT)
    sender.append([1, 2])
    sender.opened()
    assert sender.next_request() is None


def test_words_are_numbered_and_go_as_published():
    sender = greeted()
    sender.append([5, (1 << 64) - 1])
    (request,) = said(sender)
    assert list(request.words) == [5, (1 << 64) - 1]
    assert (request.client_id, request.first_seq, request.resolved_below) == (CLIENT, 1, 1)
    assert (request.roster, request.again, request.each) == (7, False, False)


@given(
    words=st.lists(st.integers(0, (1 << 64) - 1), min_size=1, max_size=40),
    before=st.sampled_from([0, 1, 5, 200]),
    roster=st.sampled_from([0, 1, 127, 300, (1 << 64) - 1]),
    each=st.booleans(),
    again=st.booleans(),
)
def test_requests_are_written_as_protobuf_writes_them(words, before, roster, each, again):
    sender = greeted(window=10_000, requests=1000, roster=roster, each=each)
    for word in range(before):
        sender.append_one(word)
        answer(sender, *said(sender))
    told = max(roster, 9) if before else roster
    sender.append(words)
    message = sender.next_request()
    if again:
        greet(sender, window=10_000, requests=1000, roster=roster)
        message = sender.next_request()
    expected = pb.InjectStreamRequest(
        client_id=CLIENT if again or not before else b"",  # once on each stream
        first_seq=before + 1,
        words=words,
        resolved_below=before + 1,
        roster=told,
        again=again,
        each=each,
        runs=True,
    )
    assert message == expected.SerializeToString(deterministic=True)


def test_an_answer_may_be_to_several_requests_in_a_row():
    sender = greeted()
    for size in (1, 3, 1):
        sender.append([0xEA] * size)
        said(sender)
    response = pb.InjectStreamResponse()
    response.answered.add(first=1, last=4)
    sender.received(response.SerializeToString())
    assert (sender.answered, sender.unanswered) == (4, 1)
    response.answered[0].first, response.answered[0].last = 5, 6
    with pytest.raises(ProtocolError, match="words 5 to 6"):
        sender.received(response.SerializeToString())


def test_what_gathers_while_a_message_is_outstanding_goes_as_one():
    sender = greeted()
    sender.append([1])
    assert len(said(sender)) == 1
    for word in range(10):
        sender.append([word])
    (request,) = said(sender)
    assert (request.first_seq, list(request.words)) == (2, list(range(10)))


@given(st.lists(st.integers(0, 3 * MAX_REQUEST_WORDS), max_size=4), st.integers(1, 9000))
def test_no_more_than_the_credit_is_under_way_and_nothing_is_left_out(sizes, window):
    sender = greeted(window=window)
    for size in sizes:
        sender.append([0xEA] * size)
    total, seen = sum(sizes), 0
    while sender.unanswered:
        requests = said(sender)
        assert sum(len(request.words) for request in requests) <= window
        for request in requests:
            assert 0 < len(request.words) <= MAX_REQUEST_WORDS
            assert request.first_seq == seen + 1
            seen += len(request.words)
        answer(sender, *requests)
    assert seen == total == sender.answered


def test_requests_are_limited_from_the_oldest_without_an_answer_on():
    sender = greeted(requests=3)
    requests = []
    for word in range(5):
        sender.append([word])
        requests += said(sender)
    assert [request.first_seq for request in requests] == [1, 2, 3]
    answer(sender, requests[1], requests[2])
    assert said(sender) == []
    answer(sender, requests[0])
    (request,) = said(sender)
    assert (request.first_seq, request.resolved_below, len(request.words)) == (4, 4, 2)


def test_a_new_stream_repeats_what_has_no_answer_just_as_it_was():
    sender = greeted()
    requests = []
    for word in range(3):
        sender.append([word])
        requests += said(sender)
    answer(sender, requests[1], legs=[(0, 1)])
    greet(sender, roster=50)
    again = said(sender)
    assert [request.first_seq for request in again] == [1, 3]
    assert all(request.again for request in again)
    assert [request.roster for request in again] == [7, 7]
    assert [request.words for request in again] == [requests[0].words, requests[2].words]
    sender.append([9])
    (fresh,) = said(sender)
    assert (fresh.first_seq, fresh.again, fresh.roster) == (4, False, 50)


def test_counts_are_cumulative_over_one_stream_and_add_up_over_several():
    sender = greeted()
    for number in range(3):
        sender.append([number])
    requests = said(sender)
    sender.append([1] * 4)
    requests += said(sender)
    answer(sender, requests[0], legs=[(0, 2), (1, 1)])
    greet(sender)
    (again,) = said(sender)
    answer(sender, again, legs=[(1, 4)])
    assert sender.result.written == 7
    assert sender.result.legs == (
        LegCount(0, 0, Outcome.DELIVERED, 2),
        LegCount(1, 0, Outcome.DELIVERED, 5),
    )


def test_outcomes_word_by_word():
    sender = greeted(each=True)
    sender.append([1, 2])
    (request,) = said(sender)
    assert request.each
    response = pb.InjectStreamResponse()
    response.answered.add(first=1, last=2)
    told = response.outcomes.add(first_seq=1, outcomes=bytes([DELIVERED, 0]))
    legs = told.several.add(seq=2).legs
    legs.add(apic_id=1, instance_id=0, outcome=DELIVERED, count=1)
    sender.received(response.SerializeToString())
    (outcomes,) = sender.outcomes
    assert outcomes.outcomes == (Outcome.DELIVERED, None)
    assert outcomes.several == {2: (LegCount(1, 0, Outcome.DELIVERED, 1),)}


@pytest.mark.parametrize("words", [[-1], [1 << 64], ["x"], [1, None]])
def test_one_that_is_no_word_is_refused(words):
    sender = greeted()
    with pytest.raises(InvalidArgumentError):
        sender.append_one(words[-1])
    assert sender.gathered == 0


@pytest.mark.parametrize("words", [[-1], [1 << 64], ["x"], [1, None]])
def test_what_is_no_word_is_refused_whole(words):
    sender = greeted()
    with pytest.raises(InvalidArgumentError):
        sender.append([5, *words])
    assert sender.gathered == 0


@pytest.mark.parametrize(("first", "last"), [(1, 1), (2, 3), (1, 3), (9, 9)])
def test_an_answer_to_what_was_not_asked(first, last):
    sender = greeted()
    sender.append([1, 2])
    said(sender)
    response = pb.InjectStreamResponse()
    response.answered.add(first=first, last=last)
    with pytest.raises(ProtocolError, match=f"words {first} to {last} are called answered"):
        sender.received(response.SerializeToString())


def test_bytes_that_are_no_answer():
    with pytest.raises(ProtocolError):
        greeted().received(b"\xff")


def test_a_client_id_has_sixteen_bytes():
    with pytest.raises(InvalidArgumentError, match="not 3"):
        BulkSender(b"abc")
