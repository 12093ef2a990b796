"""The client at the wire: typed errors, answers as dataclasses, deadlines (design, section 7)."""

import grpc
import pytest

from mkrpc.client import Client, apic
from mkrpc.client.answers import InstanceState
from mkrpc.client.lifecycle import Image
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
from mkrpc.v1 import control_pb2 as pb
from mkrpc.v1 import types_pb2
from mkrpc.x86.apic_base import ApicMode


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
        return pb.GetLogResponse(
            records=[types_pb2.LogRecord(number=n) for n in numbers], dropped=3
        )

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


def test_every_unary_call_has_a_deadline_and_injections_a_millisecond_more_a_write(peer, delivered):
    remaining = []
    answer = peer.answer

    def timed(method, request, context):
        remaining.append(context.time_remaining())
        return answer(method, request, context)

    peer.answer = timed
    peer.will("Quiesce", pb.QuiesceResponse(rounds=2))
    peer.will("Inject", delivered)
    with Client(peer.address, timeout_s=7) as client:
        assert client.quiesce() == 2
        client.inject(to=apic(2), count=100_000)
    assert 0 < remaining[0] < 8
    assert 100 < remaining[-1] < 108


@pytest.mark.parametrize("call", ["_read", "_call"])
def test_a_call_that_another_thread_closes_the_client_under_is_told_so(client, call):
    """As one that is repeated while an interconnect is started again: it has its method by then."""
    method = client._stub.GetCluster
    client.close()
    with pytest.raises(ClusterStateError, match="the client is closed"):
        getattr(client, call)(method, pb.GetClusterRequest())


def test_another_mistake_is_not_taken_for_that(client):
    def wrong(request, timeout):
        raise ValueError("invalid literal")

    with pytest.raises(ValueError, match="invalid literal"):
        client._read(wrong, pb.GetClusterRequest())


BEYOND = 1 << 32


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.accounts(-1),
        lambda client: client.log(BEYOND),
        lambda client: client.log(0, since=-1),
        lambda client: client.interrupts(BEYOND),
        lambda client: client.set_rate(-1, 10),
        lambda client: client.set_rate(None, -1),
        lambda client: client.set_rate(None, -1.0),
        lambda client: client.set_rate(None, 0.5),
        lambda client: client.set_rate(None, None),
        lambda client: client.set_rate(None, 1, burst=1 << 64),
        lambda client: client.create_instance(instance_id=BEYOND),
        lambda client: client.create_instance(apic_ids=[0, BEYOND]),
        lambda client: client.create_instance(cpu_count=-1),
        lambda client: client.update_instance(-1, [0]),
        lambda client: client.update_instance(0, [-1]),
        lambda client: client.load_instance(-1),
        lambda client: client.load_instance(0, Image(programs={-1: "a.b:c"})),
        lambda client: client.unload_instance(BEYOND),
        lambda client: client.delete_instance(-1),
        lambda client: client.exec_instance(BEYOND),
        lambda client: client.exec_instance(0, apic_id=BEYOND),
        lambda client: client.kill_instance(-1),
        lambda client: client.pause_instance(-1),
        lambda client: client.resume_instance(BEYOND),
        lambda client: client.clear_faults([-1]),
        lambda client: client.send_message(-1, 0, "x"),
        lambda client: client.send_message(0, BEYOND, "x"),
        lambda client: client.send_message(0, 1, "x", ipi_type=-1),
        lambda client: client.send_message(0, 1, "x", patience_s=float("nan")),
        lambda client: client.send_message(0, 1, "x", patience_s=1e30),
        lambda client: client.ask_for_cpu(-1, 0, online=True),
        lambda client: client.ask_for_cpu(0, BEYOND, online=True),
    ],
)
def test_a_number_that_no_message_can_carry_is_refused_by_name_and_with_advice(client, call):
    with pytest.raises(InvalidArgumentError) as caught:
        call(client)
    assert caught.value.advice.startswith("give ")
