"""``mkrpc ipi``: destinations, what it prints of every leg, exit codes, JSON."""

import json

import click
import pytest

from mkrpc.cli.ipi import MAX_LINES, DestinationType
from mkrpc.client import apic, icr, instance, logical, shorthand
from mkrpc.errors import NotFoundError
from mkrpc.outcome import Outcome
from mkrpc.v1 import control_pb2 as pb

DESTINATIONS = [
    ("3", apic(3)),
    ("0x3", apic(3)),
    ("0xffffffff", apic(0xFFFF_FFFF)),
    ("apic:3", apic(3)),
    ("instance:3", instance(3)),
    ("instance:web", instance("web")),
    ("web", instance("web")),
    ("instance:all", instance("all")),
    ("self", shorthand("self")),
    ("all", shorthand("all")),
    ("others", shorthand("others")),
    ("logical:0xff", logical(0xFF)),
    ("icr:0xea", icr(0xEA)),
    ("icr:234", icr(0xEA)),
    # More than 8 digits can be no APIC id, whatever their value.
    ("0x3000000ea", icr(0x3_0000_00EA)),
    ("0x00000000000000ea", icr(0xEA)),
    ("0x000000ea", apic(0xEA)),
]


@pytest.mark.parametrize(("text", "destination"), DESTINATIONS)
def test_forms_of_a_destination(text, destination):
    assert DestinationType().convert(text, None, None) == destination


def test_a_destination_that_is_none_is_a_usage_error():
    with pytest.raises(click.UsageError):
        DestinationType().convert("a b", None, None)


def legs(*counts: tuple[int | None, int | None, Outcome, int]) -> list[pb.LegCount]:
    return [pb.LegCount(apic_id=a, instance_id=i, outcome=o, count=n) for a, i, o, n in counts]


def test_ipi_prints_every_leg_and_exits_0_if_all_arrived(run, peer):
    some = legs((2, 1, Outcome.DELIVERED, 1), (3, 1, Outcome.COALESCED, 999))
    peer.will("Inject", pb.InjectResponse(written=1000, legs=some))
    result = run("ipi", "--address", peer.address, "--to", "2", "--count", "1000")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "apic 2 of instance 1: delivered",
        "apic 3 of instance 1: coalesced x 999",
    ]
    (request,) = peer.requests
    assert (request.destination.apic_id, request.vector, request.count) == (2, 0xEA, 1000)


def test_ipi_exits_1_if_one_leg_did_not_arrive(run, peer):
    some = legs((2, 1, Outcome.DELIVERED, 1), (None, None, Outcome(16), 1))
    peer.will("WriteIcr", pb.WriteIcrResponse(written=2, legs=some))
    result = run("ipi", "--address", peer.address, "--from", "0", "--to", "others")
    assert result.exit_code == 1
    assert "nobody: rejected(no_such_apic)" in result.stdout.splitlines()
    assert peer.requests[0].apic_id == 0
    assert peer.requests[0].destination.shorthand == pb.SHORTHAND_ALL_EXCLUDING_SELF


def test_many_kinds_of_legs_are_a_table_of_counts(run, peer):
    many = legs(*((n, n // 2, Outcome.DELIVERED, 7) for n in range(MAX_LINES + 1)))
    peer.will("Inject", pb.InjectResponse(written=7, legs=many))
    result = run("ipi", "--address", peer.address, "--to", "all")
    head, *rows = result.stdout.splitlines()
    assert head.split() == ["to", "instance", "outcome", "count"]
    assert len(rows) == MAX_LINES + 1
    assert rows[16].split() == ["apic", "16", "8", "delivered", "7"]


def test_ipi_json(run, peer):
    some = legs((2, 1, Outcome.LOST_TARGET_DEAD_MAYBE_DELIVERED, 3))
    peer.will("Inject", pb.InjectResponse(written=3, legs=some))
    result = run("ipi", "--address", peer.address, "--to", "web", "--count", "3", "--json")
    assert result.exit_code == 1
    leg = {"apic_id": 2, "instance_id": 1, "outcome": "lost(target_dead, maybe_delivered)"}
    assert json.loads(result.stdout) == {
        "written": 3,
        "all_arrived": False,
        "legs": [leg | {"count": 3}],
    }


def test_what_the_cluster_refuses_exits_3_with_its_words(run, peer, told):
    peer.will("Inject", NotFoundError("no instance called wbe", advice="did you mean web?"))
    result = run("ipi", "--address", peer.address, "--to", "wbe")
    assert result.exit_code == 3
    assert told(result) == ("mkrpc: no instance called wbe", "  → did you mean web?")
