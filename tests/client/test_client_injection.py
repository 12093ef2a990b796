"""Injection by the client happens once: numbers, repetition, legs (design 3.3, rule 6)."""

import pytest

from mkrpc.client import Client, apic, instance, shorthand
from mkrpc.client.injector import MAX_RETRIES
from mkrpc.errors import (
    InvalidArgumentError,
    NotFoundError,
    ProtocolError,
    UnavailableError,
)
from mkrpc.outcome import Outcome
from mkrpc.v1 import control_pb2 as pb


def test_an_injection_names_its_client_and_numbers_its_writes(peer, client, delivered):
    peer.will("Inject", delivered)
    client.inject(to=apic(2), count=10)
    client.inject(to=apic(2))
    first, second = peer.requests
    assert first.client_id == second.client_id == client.client_id
    assert len(first.client_id) == 16
    assert (first.first_seq, first.count, first.resolved_below) == (1, 10, 1)
    assert (second.first_seq, second.count, second.resolved_below) == (11, 1, 11)


def test_two_clients_never_share_an_id(peer):
    with Client(peer.address) as one, Client(peer.address) as other:
        assert one.client_id != other.client_id


def test_a_broken_connection_repeats_the_very_same_numbers(peer, client, delivered):
    peer.will("Inject", UnavailableError("cut"), UnavailableError("cut again"), delivered)
    result = client.inject(to=apic(2), count=5)
    assert result.all_arrived
    assert len(peer.requests) == 3
    first, *again = peer.requests
    assert [request.again for request in peer.requests] == [False, True, True]
    first.again = True
    assert again == [first, first], "nothing else has changed"


def test_retries_are_bounded_and_an_unknown_end_holds_back_what_is_resolved(
    peer, client, delivered
):
    cuts = [UnavailableError("cut")] * (MAX_RETRIES + 1)
    peer.will("Inject", *cuts, UnavailableError("still cut"), delivered)
    with pytest.raises(UnavailableError, match="cut"):
        client.inject(to=apic(2), count=5)
    assert len(peer.requests) == MAX_RETRIES + 1
    client.inject(to=apic(2))
    assert (peer.requests[-1].first_seq, peer.requests[-1].resolved_below) == (6, 1)


def test_a_refusal_is_not_repeated_and_leaves_nothing_unresolved(peer, client, delivered):
    peer.will("Inject", NotFoundError("no such instance"), delivered)
    with pytest.raises(NotFoundError):
        client.inject(to=instance("web"))
    client.inject(to=apic(2))
    assert len(peer.requests) == 2
    assert (peer.requests[-1].first_seq, peer.requests[-1].resolved_below) == (2, 2)


def test_a_cpus_own_write_is_never_repeated(peer, client):
    peer.will("WriteIcr", UnavailableError("cut"))
    with pytest.raises(UnavailableError):
        client.write_icr(0, to=apic(2))
    assert len(peer.requests) == 1


@pytest.mark.parametrize("word", ["self", "others"])
def test_an_external_agent_has_no_apic_for_self_and_others(peer, client, word):
    with pytest.raises(InvalidArgumentError, match="no APIC of its own"):
        client.inject(to=shorthand(word))
    assert peer.requests == []


def test_legs_are_counted_by_destination_and_outcome(peer, client):
    peer.will(
        "WriteIcr",
        pb.WriteIcrResponse(
            written=2,
            legs=[
                pb.LegCount(apic_id=0, instance_id=0, outcome=2, count=1),
                pb.LegCount(outcome=16, count=1),
            ],
        ),
    )
    result = client.write_icr(0, to=apic(99), count=2)
    (own, nobody) = result.legs
    assert (own.apic_id, own.instance_id, own.outcome) == (0, 0, Outcome.COALESCED)
    assert (nobody.apic_id, nobody.instance_id) == (None, None)
    assert nobody.outcome is Outcome.REJECTED_NO_SUCH_APIC
    assert not result.all_arrived


@pytest.mark.parametrize(
    ("outcomes", "arrived"),
    [
        ([], False),
        ([Outcome.DELIVERED], True),
        ([Outcome.DELIVERED, Outcome.COALESCED], True),
        ([Outcome.DELIVERED, Outcome.REJECTED_BACKPRESSURE], False),
        ([Outcome.LOST_TARGET_DEAD_MAYBE_DELIVERED], False),
    ],
)
def test_all_arrived_means_every_leg_delivered_or_coalesced(peer, client, outcomes, arrived):
    legs = [pb.LegCount(apic_id=n, outcome=o, count=1) for n, o in enumerate(outcomes)]
    peer.will("Inject", pb.InjectResponse(written=1, legs=legs))
    assert client.inject(to=apic(0)).all_arrived is arrived


def test_an_outcome_of_another_version_is_a_protocol_error(peer, client):
    peer.will("Inject", pb.InjectResponse(written=1, legs=[pb.LegCount(outcome=99, count=1)]))
    with pytest.raises(ProtocolError, match="outcome 99"):
        client.inject(to=apic(0))
