"""The client at the wire: typed errors, exactly-once injection, answers as dataclasses.

Design 3.3 rule 6 and section 7; issue 2, "Clients" and point 6.
"""

import grpc
import pytest

from mkrpc.client import Client, apic, icr, instance, logical, shorthand
from mkrpc.client.answers import InstanceState
from mkrpc.client.client import MAX_RETRIES
from mkrpc.client.destination import Ipi
from mkrpc.client.injection_numbers import MAX_UNANSWERED, InjectionNumbers
from mkrpc.errors import (
    AlreadyExistsError,
    ClusterStateError,
    DeadlineExceededError,
    FrameTooLargeError,
    InvalidArgumentError,
    LimitReachedError,
    MkrpcError,
    NotFoundError,
    PermissionDeniedError,
    ProtocolError,
    StartUpError,
    TopologyError,
    UnavailableError,
)
from mkrpc.link.frames import NOBODY
from mkrpc.outcome import Outcome
from mkrpc.v1 import control_pb2 as pb
from mkrpc.v1 import types_pb2
from mkrpc.x86.apic_base import ApicMode

DELIVERED = pb.InjectResponse(
    written=1,
    legs=[pb.LegCount(apic_id=2, instance_id=1, outcome=types_pb2.OUTCOME_DELIVERED, count=1)],
)


@pytest.fixture
def client(peer):
    with Client(peer.address) as connected:
        yield connected


@pytest.mark.parametrize(
    "error_class",
    [
        AlreadyExistsError,
        ClusterStateError,
        InvalidArgumentError,
        LimitReachedError,
        NotFoundError,
        PermissionDeniedError,
        ProtocolError,
        StartUpError,
        TopologyError,
    ],
)
def test_an_error_keeps_its_class_words_and_advice_across_the_wire(peer, client, error_class):
    peer.will("GetCpu", error_class("no CPU 9 anywhere", advice="try 3"))
    with pytest.raises(MkrpcError) as caught:
        client.cpu(9)
    assert type(caught.value) is error_class
    assert str(caught.value) == "no CPU 9 anywhere"
    assert caught.value.advice == "try 3"


@pytest.mark.parametrize(
    ("code", "error_class"),
    [
        (grpc.StatusCode.UNAVAILABLE, UnavailableError),
        (grpc.StatusCode.UNIMPLEMENTED, ProtocolError),
        (grpc.StatusCode.DEADLINE_EXCEEDED, DeadlineExceededError),
    ],
)
def test_a_bare_status_is_typed_too(peer, client, code, error_class):
    peer.will("GetCluster", code)
    with pytest.raises(error_class):
        client.cluster()


def test_an_answer_over_16_mib_is_an_error_by_name(peer, client):
    peer.will("GetProc", pb.GetProcResponse(text="x" * ((16 << 20) + 1)))
    with pytest.raises(FrameTooLargeError):
        client.proc(0, "interrupts")


def test_nobody_at_the_address_is_said_with_the_address_and_what_to_do(tmp_path):
    address = f"unix:{tmp_path}/nobody"
    with pytest.raises(UnavailableError, match=address) as caught:
        Client(address, connect_timeout_s=0.05)
    assert "mkrpc up" in caught.value.advice


def test_a_malformed_address_or_client_id_is_refused_before_connecting(peer):
    with pytest.raises(InvalidArgumentError):
        Client("nonsense")
    with pytest.raises(InvalidArgumentError, match="16 bytes, not 3"):
        Client(peer.address, client_id=b"abc")


def test_an_injection_names_its_client_and_numbers_its_writes(peer, client):
    peer.will("Inject", DELIVERED)
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


def test_a_broken_connection_repeats_the_very_same_numbers(peer, client):
    peer.will("Inject", UnavailableError("cut"), UnavailableError("cut again"), DELIVERED)
    result = client.inject(to=apic(2), count=5)
    assert result.all_arrived
    assert len(peer.requests) == 3
    assert peer.requests[0] == peer.requests[1] == peer.requests[2]


def test_retries_are_bounded_and_an_unknown_end_holds_back_what_is_resolved(peer, client):
    peer.will("Inject", *[UnavailableError("cut")] * (MAX_RETRIES + 1), DELIVERED)
    with pytest.raises(UnavailableError, match="cut"):
        client.inject(to=apic(2), count=5)
    assert len(peer.requests) == MAX_RETRIES + 1
    client.inject(to=apic(2))
    assert (peer.requests[-1].first_seq, peer.requests[-1].resolved_below) == (6, 1)


def test_a_refusal_is_not_repeated_and_leaves_nothing_unresolved(peer, client):
    peer.will("Inject", NotFoundError("no such instance"), DELIVERED)
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


def test_unknown_ends_are_bounded():
    numbers = InjectionNumbers()
    for _ in range(MAX_UNANSWERED):
        numbers.take(1)
    with pytest.raises(LimitReachedError, match="unknown"):
        numbers.take(1)
    numbers.resolve(1)
    assert numbers.take(1) == (MAX_UNANSWERED + 1, 2)


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
                pb.LegCount(apic_id=NOBODY, outcome=16, count=1),
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


def test_the_cluster_is_told_in_our_words(peer, client):
    cpu = pb.Cpu(
        address=types_pb2.CpuAddress(apic_id=4, mode=types_pb2.APIC_MODE_X2APIC),
        account=types_pb2.CpuAccount(irr=b"\0\x04", activity="idle"),
    )
    one = pb.Instance(
        id=1, name="web", state=pb.INSTANCE_STATE_ACTIVE, incarnation=b"i" * 16, pid=7, cpus=[cpu]
    )
    peer.will("GetCluster", pb.GetClusterResponse(address="here", epoch=5, instances=[one]))
    found = client.find_instance("web")
    assert found == client.find_instance(1)
    assert found.state is InstanceState.ACTIVE
    assert (found.cpus[0].address.mode, found.cpus[0].account.irr) == (ApicMode.X2APIC, 1 << 10)
    with pytest.raises(NotFoundError, match="no instance db") as caught:
        client.find_instance("db")
    assert "1 (web)" in caught.value.advice


@pytest.mark.parametrize("state", list(InstanceState))
def test_states_have_the_names_of_the_wire(peer, client, state):
    number = pb.InstanceState.Value(f"INSTANCE_STATE_{state.name}")
    peer.will("GetCluster", pb.GetClusterResponse(instances=[pb.Instance(state=number)]))
    assert client.cluster().instances[0].state is state


def test_a_long_log_is_read_in_as_many_calls_as_it_takes(peer, client):
    def page(*numbers: int) -> pb.GetLogResponse:
        return pb.GetLogResponse(records=[pb.LogRecord(number=n) for n in numbers], dropped=3)

    peer.will("GetLog", page(4, 5), page(6), page())
    log = client.log(1)
    assert [record.number for record in log.records] == [4, 5, 6]
    assert log.dropped == 3
    assert [request.since for request in peer.requests] == [0, 6, 7]


def test_set_cpu_sends_only_what_was_named(peer, client):
    view = types_pb2.CpuView(apic_id=2, mode=types_pb2.APIC_MODE_XAPIC)
    peer.will("SetCpu", pb.SetCpuResponse(cpu=view))
    assert client.set_cpu(2, interrupts_enabled=False).apic_id == 2
    (request,) = peer.requests
    assert request.HasField("interrupts_enabled")
    assert not request.HasField("halt")
    assert not request.HasField("tpr")


@pytest.mark.parametrize("setting", [{}, {"tpr": 256}, {"tpr": -1}])
def test_set_cpu_refuses_nothing_and_nonsense(peer, client, setting):
    with pytest.raises(InvalidArgumentError):
        client.set_cpu(2, **setting)
    assert peer.requests == []


def test_watching_yields_batches_and_ends_with_the_iterator(peer, client):
    batch = pb.WatchResponse(missed=2, events=[pb.Event(kind="leg", number=1, fields={"a": "b"})])
    peer.will("Watch", iter([batch, batch]))
    events = client.watch()
    first = next(events)
    assert first.missed == 2
    assert (first.events[0].kind, first.events[0].fields) == ("leg", {"a": "b"})
    events.close()


def test_every_unary_call_has_a_deadline_and_injections_a_millisecond_more_a_write(peer):
    remaining = []
    answer = peer.answer

    def timed(method, request, context):
        remaining.append(context.time_remaining())
        return answer(method, request, context)

    peer.answer = timed
    peer.will("Quiesce", pb.QuiesceResponse(rounds=2))
    peer.will("Inject", DELIVERED)
    with Client(peer.address, timeout_s=7) as client:
        assert client.quiesce() == 2
        client.inject(to=apic(2), count=100_000)
    assert 0 < remaining[0] < 8
    assert 100 < remaining[1] < 108


@pytest.mark.parametrize(
    ("destination", "field", "value"),
    [
        (apic(3), "apic_id", 3),
        (apic(NOBODY), "apic_id", NOBODY),
        (instance(2), "instance_id", 2),
        (instance("web"), "instance_name", "web"),
        (shorthand("self"), "shorthand", pb.SHORTHAND_SELF),
        (shorthand("all"), "shorthand", pb.SHORTHAND_ALL_INCLUDING_SELF),
        (shorthand("others"), "shorthand", pb.SHORTHAND_ALL_EXCLUDING_SELF),
        (logical(0x10001), "logical", 0x10001),
        (icr(0x3_0000_00EA), "icr", 0x3_0000_00EA),
    ],
)
def test_destinations_on_the_wire(destination, field, value):
    message = destination.to_pb()
    assert message.WhichOneof("to") == field
    assert getattr(message, field) == value


@pytest.mark.parametrize(
    ("make", "value"),
    [(apic, -1), (apic, 1 << 32), (instance, 512), (logical, 1 << 32), (icr, 1 << 64)],
)
def test_a_destination_out_of_range_is_refused(make, value):
    with pytest.raises(InvalidArgumentError, match="does not fit"):
        make(value)


@pytest.mark.parametrize(
    ("arguments", "vector", "mode"),
    [
        ({}, 0xEA, pb.DELIVERY_MODE_FIXED),
        ({"vector": 0x10}, 0x10, pb.DELIVERY_MODE_FIXED),
        ({"delivery_mode": "lowest"}, 0xEA, pb.DELIVERY_MODE_LOWEST_PRIORITY),
        ({"delivery_mode": "nmi"}, 0, pb.DELIVERY_MODE_NMI),
        ({"delivery_mode": "init"}, 0, pb.DELIVERY_MODE_INIT),
        ({"delivery_mode": "smi"}, 0, pb.DELIVERY_MODE_SMI),
        ({"delivery_mode": "sipi", "vector": 0}, 0, pb.DELIVERY_MODE_STARTUP),
    ],
)
def test_vector_and_mode_of_an_ipi(arguments, vector, mode):
    request = pb.InjectRequest(**Ipi(to=apic(1), **arguments).fields())
    assert (request.vector, request.delivery_mode, request.count) == (vector, mode, 1)


def test_a_raw_word_goes_without_vector_and_mode():
    request = pb.InjectRequest(**Ipi(to=icr(0xEA)).fields())
    assert (request.vector, request.delivery_mode) == (0, pb.DELIVERY_MODE_UNSPECIFIED)


@pytest.mark.rule("R52")
@pytest.mark.parametrize(
    "arguments",
    [
        {"vector": 15},
        {"vector": 0},
        {"vector": 256},
        {"vector": -1},
        {"vector": 15, "delivery_mode": "lowest"},
        {"vector": 2, "delivery_mode": "nmi"},
        {"delivery_mode": "sipi"},
        {"delivery_mode": "extint"},
        {"count": 0},
        {"count": 1_000_001},
        {"to": icr(0), "vector": 0xEA},
        {"to": icr(0), "delivery_mode": "fixed"},
    ],
)
def test_an_ipi_that_cannot_be_is_refused(arguments):
    with pytest.raises(InvalidArgumentError) as caught:
        Ipi(**({"to": apic(1)} | arguments))
    assert caught.value.advice
