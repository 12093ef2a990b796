"""A client whose interconnect dies and is served by another one at the same address."""

from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from mkrpc.client import apic
from mkrpc.client.repeating import RESTART_PATIENCE_S
from mkrpc.errors import UnavailableError
from mkrpc.v1 import control_pb2 as pb
from mkrpc.v1 import control_pb2_grpc

BROKEN = grpc.StatusCode.UNAVAILABLE


def test_what_only_reads_is_repeated_while_the_connection_breaks(peer, client):
    peer.will("GetProc", BROKEN, BROKEN, pb.GetProcResponse(text="CAL: 1"))
    assert client.interrupts(1) == "CAL: 1"
    assert len(peer.requests) == 3


def test_a_refusal_by_name_is_an_answer(peer, client):
    peer.will("GetProc", UnavailableError("the instance went away"))
    with pytest.raises(UnavailableError, match="went away"):
        client.interrupts(1)
    assert len(peer.requests) == 1


@pytest.mark.parametrize(
    ("method", "call"),
    [
        ("SetCpu", lambda client: client.set_cpu(0, halt=True)),
        ("KillInstance", lambda client: client.kill_instance(1)),
        ("ExecInstance", lambda client: client.exec_instance(1)),
        ("WriteIcr", lambda client: client.write_icr(0, to=apic(1))),
    ],
)
def test_what_changes_something_is_never_repeated_and_says_that_it_may_have_happened(
    peer, client, method, call
):
    peer.will(method, BROKEN)
    with pytest.raises(UnavailableError) as broken:
        call(client)
    assert "may have happened" in broken.value.advice
    assert len(peer.requests) == 1


def test_patience_has_an_end(peer, client):
    peer.will("GetProc", BROKEN)
    with pytest.raises(UnavailableError):
        client.interrupts(1)
    assert 3 < len(peer.requests) <= 40 * RESTART_PATIENCE_S + 1


def test_an_injection_is_stamped_with_what_the_client_had_been_told(peer, client, delivered):
    """Design 3.3, rules 3 and 6: a repetition reaches nobody who was born after it was made."""
    delivered.roster = 9
    peer.will("Inject", BROKEN, delivered)
    client.inject(to=apic(2))
    client.inject(to=apic(2))
    first, repeated, fresh = peer.requests
    assert (first.roster, first.again) == (peer.roster, False)
    assert (repeated.roster, repeated.again) == (peer.roster, True)
    assert (fresh.roster, fresh.again) == (9, False)


def test_watching_goes_on_and_says_where_it_broke_off(peer, client):
    second = [pb.WatchResponse(events=[pb.Event(kind="detach", number=1)])]
    peer.will("GetCluster", pb.GetClusterResponse(epoch=1), pb.GetClusterResponse(epoch=2))
    peer.will("Watch", BROKEN, second)
    batches = list(client.watch())
    assert [batch.gap for batch in batches] == ["another interconnect serves", ""]
    assert batches[1].events[0].kind == "detach"


def test_a_broken_connection_to_the_same_interconnect_is_told_as_that(peer, client):
    peer.will("GetCluster", pb.GetClusterResponse(epoch=1))
    peer.will("Watch", BROKEN, [pb.WatchResponse()])
    assert [batch.gap for batch in client.watch()] == ["the connection broke", ""]


def test_a_server_that_is_killed_and_another_one(peer, client):
    """Not only a status: the socket is gone for a while."""
    peer.will("GetProc", pb.GetProcResponse(text="before"))
    assert client.interrupts(1) == "before"
    peer.stop()
    another = grpc.server(ThreadPoolExecutor(max_workers=1))
    control_pb2_grpc.add_ControlServicer_to_server(peer, another)
    another.add_insecure_port(peer.address)
    peer.will("GetProc", pb.GetProcResponse(text="after"))
    another.start()
    try:
        assert client.interrupts(1) == "after"
    finally:
        another.stop(None).wait()
