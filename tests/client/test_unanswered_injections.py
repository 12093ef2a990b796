"""An injection without an answer is repeated until its end is known (design 3.3, rule 6).

Until then nothing that came after it can be forgotten, anywhere: the client must not be left to
run into a limit because one call of its life timed out.
"""

import os
import signal
from itertools import pairwise

import pytest

from mkrpc.client import Client, apic
from mkrpc.client.injection_numbers import (
    MAX_INJECTIONS_BETWEEN_REPEATS,
    MAX_UNANSWERED,
    InjectionNumbers,
)
from mkrpc.errors import (
    DeadlineExceededError,
    FrameTooLargeError,
    InternalError,
    InvalidArgumentError,
    LimitReachedError,
    MkrpcError,
    NotFoundError,
    UnavailableError,
)
from mkrpc.interconnect.known_clients import MAX_CALLS_PER_CLIENT
from mkrpc.topology import Topology
from mkrpc.v1 import control_pb2 as pb

SILENCE = DeadlineExceededError("nobody said anything")


def numbers_of(requests) -> list[tuple[int, int]]:
    """First number and ``resolved_below`` of each request."""
    return [(request.first_seq, request.resolved_below) for request in requests]


@pytest.fixture
def silent_once(peer, client):
    """A client whose first injection, of three writes, had no answer."""
    peer.will("Inject", SILENCE)
    with pytest.raises(DeadlineExceededError):
        client.inject(to=apic(2), count=3)
    return client


def test_the_next_injection_first_repeats_the_very_same_request(peer, silent_once, delivered):
    peer.will("Inject", delivered)
    assert silent_once.inject(to=apic(2)).all_arrived
    first, repeated, fresh = peer.requests
    assert repeated.again
    repeated.again = False
    assert repeated == first
    assert (fresh.first_seq, fresh.resolved_below) == (4, 4)


@pytest.mark.parametrize(
    "refusal",
    [
        InvalidArgumentError("answered and forgotten"),
        NotFoundError("no such instance"),
        LimitReachedError("too many clients"),
        FrameTooLargeError("an answer of 17 MiB"),
        InternalError(),
    ],
    ids=lambda refusal: refusal.reason,
)
def test_a_refused_repetition_is_an_end_too(peer, silent_once, delivered, refusal):
    """What is never repeated again may be forgotten by everybody."""
    peer.will("Inject", refusal, delivered)
    assert silent_once.inject(to=apic(2)).all_arrived
    assert numbers_of(peer.requests) == [(1, 1), (1, 1), (4, 4)]


@pytest.mark.parametrize("silence", [SILENCE, UnavailableError("cut")], ids=["late", "cut"])
def test_repetitions_in_vain_become_rarer_and_hold_nobody_up(peer, silent_once, delivered, silence):
    """After 1, 2, 4, ... further injections, 64 at most, the next one is preceded by another."""
    peer.requests.clear()
    answer = peer.answer

    def by_number(method, request, context):
        peer.will("Inject", silence if request.first_seq == 1 else delivered)
        return answer(method, request, context)

    peer.answer = by_number
    for _ in range(280):
        assert silent_once.inject(to=apic(2)).all_arrived
    repeats = [at for at, request in enumerate(peer.requests) if request.first_seq == 1]
    between = [later - earlier - 1 for earlier, later in pairwise(repeats)]
    assert repeats[0] == 0
    assert between == [2, 3, 5, 9, 17, 33, 65, 65, 65]
    assert MAX_INJECTIONS_BETWEEN_REPEATS == 64


def test_a_limit_is_met_by_repeating_all_that_is_unanswered(peer, silent_once, delivered):
    peer.will("Inject", SILENCE, LimitReachedError("1024 calls are remembered"), delivered)
    assert silent_once.inject(to=apic(2)).all_arrived
    assert numbers_of(peer.requests) == [(1, 1), (1, 1), (4, 1), (1, 1), (5, 5)]


def test_a_limit_with_nothing_unanswered_is_the_callers(peer, client):
    peer.will("Inject", LimitReachedError("1024 clients have calls without an answer"))
    with pytest.raises(LimitReachedError, match="1024 clients"):
        client.inject(to=apic(2))
    assert len(peer.requests) == 1


def request(first: int) -> pb.InjectRequest:
    return pb.InjectRequest(first_seq=first)


def lose(numbers: InjectionNumbers, first: int) -> None:
    with pytest.raises(DeadlineExceededError), numbers.under_way(request(first)):
        raise SILENCE


def test_unknown_ends_are_bounded_and_an_answer_makes_room():
    numbers = InjectionNumbers()
    for _ in range(MAX_UNANSWERED):
        lose(numbers, numbers.take(1)[0])
    with pytest.raises(LimitReachedError, match=f"{MAX_UNANSWERED} injections") as caught:
        numbers.take(1)
    assert "kill --force" in caught.value.advice
    found = numbers.claim(after=0)
    assert found is not None
    with numbers.under_way(found):
        pass
    assert numbers.take(1) == (MAX_UNANSWERED + 1, 2)


def test_what_another_thread_waits_for_is_not_repeated():
    numbers = InjectionNumbers()
    first, _ = numbers.take(1)
    with numbers.under_way(request(first)):
        assert not numbers.repeat_due()
        assert numbers.claim(after=0) is None
        assert numbers.take(1) == (2, 1)


@pytest.mark.parametrize("end", [KeyboardInterrupt(), UnavailableError("cut")], ids=repr)
def test_a_call_that_was_broken_off_is_unanswered(end):
    numbers = InjectionNumbers()
    first, _ = numbers.take(1)
    with pytest.raises(type(end)), numbers.under_way(request(first)):
        raise end
    assert numbers.claim(after=0) == request(first)


@pytest.mark.e2e
def test_a_client_outlives_a_stopped_instance(mk_cluster_factory):
    """The interconnect remembers all calls since the oldest unanswered one, 1024 of them."""
    cluster = mk_cluster_factory(Topology.of(instances=2, cpus=1))
    pid = cluster.pids()[1]
    with Client(cluster.address, timeout_s=0.3) as client:
        os.kill(pid, signal.SIGSTOP)
        try:
            with pytest.raises(DeadlineExceededError):
                client.inject(to=apic(1))
        finally:
            os.kill(pid, signal.SIGCONT)
        for _ in range(MAX_CALLS_PER_CLIENT + 1):
            assert client.inject(to=apic(0)).all_arrived
        client.quiesce()
        totals = client.ledger().totals
        assert (totals.written, totals.lost) == (MAX_CALLS_PER_CLIENT + 2, 0)


def test_every_silence_has_its_advice(peer):
    """Whoever does not answer in time is named, with what ends the wait."""
    calls = {
        "SetCpu": (lambda c: c.set_cpu(2, halt=True), "kill --force"),
        "GetCpu": (lambda c: c.cpu(2), "kill --force"),
        "GetProc": (lambda c: c.interrupts(1), "kill --force"),
        "GetLog": (lambda c: c.log(1), "kill --force"),
        "GetAccounts": (lambda c: c.accounts(1), "kill --force"),
        "Quiesce": (lambda c: c.quiesce(), "kill --force"),
        "WriteIcr": (lambda c: c.write_icr(0, to=apic(2)), "kill --force"),
        "Inject": (lambda c: c.inject(to=apic(2)), "kill --force"),
        "KillInstance": (lambda c: c.kill_instance(1), "kill --force"),
        "ExecInstance": (lambda c: c.exec_instance(1), "mkrpc down"),
        "GetCluster": (lambda c: c.cluster(), "mkrpc down"),
        "Shutdown": (lambda c: c.shutdown(), "mkrpc down"),
    }
    with Client(peer.address) as client:
        for method, (call, advice) in calls.items():
            peer.will(method, DeadlineExceededError("no answer"))
            with pytest.raises(MkrpcError) as caught:
                call(client)
            assert type(caught.value) is DeadlineExceededError
            assert peer.address in str(caught.value)
            assert advice in caught.value.advice, method


def test_a_kill_by_force_that_gets_no_answer_does_not_advise_itself(peer, client):
    peer.will("KillInstance", DeadlineExceededError("no answer"))
    with pytest.raises(DeadlineExceededError) as caught:
        client.kill_instance(1, force=True)
    assert "--force" not in caught.value.advice
    assert "mkrpc down" in caught.value.advice
