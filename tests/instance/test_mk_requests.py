"""Requests: 10 s and 30 s, ids that no two messages share, and what upstream's ids of 0 do."""

from errno import ETIMEDOUT

import pytest

from mkrpc.errors import AlreadyExistsError, InvalidArgumentError, LimitReachedError
from mkrpc.instance.multikernel import requests
from mkrpc.instance.multikernel.requests import MessageIds, PendingRequests, Request

CPU_ADD, SHUTDOWN = 0x2001, 0x3002


class Books:
    def __init__(self, **settings):
        self.now_us = 5_000_000
        self.warnings: list[str] = []
        self.pending = PendingRequests(
            lambda: self.now_us,
            ids=MessageIds(0, spawn=1),
            warn=self.warnings.append,
            **settings,
        )

    def open(self, operation: int = CPU_ADD, resource_id: int = 7, target: int = 1) -> Request:
        return self.pending.open(
            target, msg_type=operation & 0xF000, operation=operation, resource_id=resource_id
        )

    def acknowledge(self, request: Request, sender: int | None = 1, result: int = 0, **other):
        fields = {
            name: getattr(request, name)
            for name in ("msg_id", "msg_type", "operation", "resource_id")
        }
        return self.pending.acknowledge(sender, result=result, **(fields | other))


@pytest.mark.parametrize(
    ("operation", "seconds"), [(CPU_ADD, 10), (0x2003, 10), (0x2006, 10), (SHUTDOWN, 30)]
)
def test_a_request_times_out_at_its_second_and_not_before(operation: int, seconds: int):
    books = Books()
    request = books.open(operation)
    books.now_us += seconds * 1_000_000 - 1
    assert books.pending.poll(request) is None
    assert books.warnings == []
    books.now_us += 1
    assert books.pending.poll(request) == -ETIMEDOUT
    assert books.warnings == [f"Timeout waiting for operation 0x{operation:x} on resource 7"]
    assert len(books.pending) == 0


def test_an_ack_completes_its_request_once():
    books = Books()
    request = books.open()
    assert books.acknowledge(request, result=-22) is request
    assert books.pending.poll(request) == -22
    assert books.acknowledge(request) is None
    assert request.result == -22


def test_a_late_ack_completes_nothing_but_upstream_a_newer_request():
    outcomes = {}
    for unique in (True, False):
        books = Books(unique_ids=unique)
        first = books.open()
        books.now_us += 10_000_000
        assert books.pending.poll(first) == -ETIMEDOUT
        second = books.open()
        outcomes[unique] = books.acknowledge(first) is second
        assert (second.result is not None) == outcomes[unique]
    assert outcomes == {True: False, False: True}


def test_an_ack_of_another_instance_counts_only_upstream():
    for unique in (True, False):
        books = Books(unique_ids=unique)
        request = books.open(target=1)
        assert (books.acknowledge(request, sender=2) is request) == (not unique)


def test_where_the_channel_vouches_for_nobody_the_id_alone_decides():
    books = Books()
    request = books.open()
    assert books.acknowledge(request, sender=None) is request


@pytest.mark.parametrize(
    "other", [{"msg_id": 0}, {"msg_type": 0x3000}, {"operation": 0x2002}, {"resource_id": 8}]
)
def test_an_ack_of_something_else_completes_nothing(other):
    books = Books()
    request = books.open()
    assert books.acknowledge(request, **other) is None
    assert request.result is None


def test_the_same_operation_twice_is_two_requests_and_upstream_refused():
    books = Books()
    assert books.open().msg_id != books.open().msg_id
    upstream = Books(unique_ids=False)
    assert upstream.open().msg_id == 0
    with pytest.raises(AlreadyExistsError):
        upstream.open()


def test_what_was_not_sent_ends_with_what_the_send_returned():
    books = Books()
    request = books.open()
    books.pending.cancel(request, -28)
    assert (request.result, len(books.pending)) == (-28, 0)
    books.pending.cancel(request, -1)
    assert request.result == -28


def test_no_two_messages_share_an_id_whoever_and_whichever_life_sends_them():
    ids = [
        makes.next()
        for makes in (
            MessageIds(instance, spawn=spawn)
            for instance in (0, 1, 2, 511)
            for spawn in (0, 1, 2, requests.MAX_SPAWN)
        )
        for _ in range(50)
    ]
    assert len(set(ids)) == len(ids)
    assert 0 not in ids
    assert max(ids) < 1 << 64


@pytest.mark.parametrize(("instance", "spawn"), [(-1, 0), (512, 0), (0, -1), (0, 1 << 22)])
def test_ids_of_nobody_are_refused(instance: int, spawn: int):
    with pytest.raises(InvalidArgumentError):
        MessageIds(instance, spawn=spawn)


def test_ids_that_are_used_up_are_not_used_again():
    ids = MessageIds(0, spawn=0)
    ids._sequence = (1 << 32) - 2  # 2**32 calls take too long
    ids.next()
    with pytest.raises(LimitReachedError):
        ids.next()


def test_requests_are_limited_and_those_that_time_out_make_room():
    books = Books()
    for number in range(requests.MAX_PENDING):
        books.open(resource_id=number)
    with pytest.raises(LimitReachedError):
        books.open()
    books.now_us += 10_000_000
    assert books.open().result is None
