"""What destinations must remember of a client, and what they may forget (design 3.3, rule 2)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mkrpc.interconnect import clients
from mkrpc.interconnect.clients import Call, Client
from mkrpc.interconnect.injected_words import EqualWords
from mkrpc.interconnect.tally import Tally
from mkrpc.link import runs
from mkrpc.link.frames import ResolvedRun


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Client:
    """One of whose writes destinations keep ten."""
    monkeypatch.setattr(clients, "KEPT_WRITES", 10)
    return Client(b"client----------")


def test_the_writes_settled_last_are_kept_whatever_their_numbers(client: Client) -> None:
    assert not client.settle(101, 110)
    assert not client.settle(1, 9)
    assert client.settle(11, 12), "twice as many as are kept"
    assert client.publication() == (ResolvedRun(1, 1), ResolvedRun(101, 110))
    assert not client.settle(13, 21)
    assert client.settle(22, 22)
    assert client.publication() == (ResolvedRun(1, 9), ResolvedRun(11, 12), ResolvedRun(101, 110))


def test_what_the_client_has_the_answers_to_does_not_count(client: Client) -> None:
    client.settle(1, 15)
    client.acknowledge(13)
    assert client.publication() == (ResolvedRun(1, 12),)
    client.acknowledge(16)
    assert not client.settle(16, 34)
    assert client.publication() == (ResolvedRun(1, 15),)


def test_of_many_scattered_runs_the_longest_are_published(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clients, "MAX_PUBLISHED_RUNS", 2)
    for first, last in ((1, 3), (5, 5), (7, 10), (21, 32)):
        client.settle(first, last)
    assert client.publication() == (ResolvedRun(1, 3), ResolvedRun(7, 10))


def test_what_is_too_scattered_to_be_told_is_kept(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A peer's frame settled these: a limit of the client's books is no fault of the peer."""
    monkeypatch.setattr(runs, "MAX_RUNS", 2)
    for first in range(1, 40, 2):
        client.settle(first, first)
    assert client.publication() == (ResolvedRun(1, 1), ResolvedRun(3, 3))
    for first in range(41, 70, 2):
        client.settle(first, first)
    assert client.publication() == (ResolvedRun(1, 1), ResolvedRun(3, 3))


@given(
    numbers=st.lists(st.integers(1, 40), unique=True, max_size=12),
    gone=st.sets(st.integers(1, 40)),
    below=st.integers(1, 45),
)
def test_calls_below_a_number_are_found_in_whatever_order_they_were_made(
    numbers: list[int], gone: set[int], below: int
) -> None:
    client = Client(b"client----------")
    for number in numbers:
        client.add(Call(client, first_seq=number, words=EqualWords(0xEA, 1), tally=Tally()))
    for number in gone & set(numbers):
        del client.calls[number]
    wanted = [number for number in numbers if number < below and number not in gone]
    assert [call.first_seq for call in client.calls_below(below)] == wanted


def test_a_client_is_idle_once_every_call_has_its_answer() -> None:
    client = Client(b"client----------")
    made = [
        client.add(Call(client, first_seq=n, words=EqualWords(0xEA, 1), tally=Tally()))
        for n in (1, 2, 3)
    ]
    for call in made:
        assert not client.idle
        call.tally.done = True
    assert client.idle
