"""A cluster told page by page: one answer, of one interconnect."""

import pytest

from mkrpc.client import Client
from mkrpc.client.pages import MAX_BEGINNINGS, whole_cluster
from mkrpc.errors import ProtocolError, UnavailableError
from mkrpc.v1 import control_pb2 as pb

ACTIVE = pb.INSTANCE_STATE_ACTIVE


def page(*ids: int, next_instance: int | None = None, epoch: int = 1) -> pb.GetClusterResponse:
    found = [pb.Instance(id=number, name=f"mk{number}", state=ACTIVE) for number in ids]
    return pb.GetClusterResponse(instances=found, next_instance=next_instance, epoch=epoch)


class Teller:
    """Answers with what is written down, and keeps what it was asked."""

    def __init__(self, *answers: pb.GetClusterResponse) -> None:
        self.answers = list(answers)
        self.asked_from: list[int] = []

    def __call__(self, request: pb.GetClusterRequest) -> pb.GetClusterResponse:
        assert request.paged
        self.asked_from.append(request.first_instance)
        return self.answers.pop(0)


def ids(cluster: pb.GetClusterResponse) -> list[int]:
    return [instance.id for instance in cluster.instances]


def test_pages_are_read_until_there_is_none():
    teller = Teller(page(0, 1, next_instance=4), page(4, next_instance=9), page(9, 511))
    cluster = whole_cluster(teller)
    assert ids(cluster) == [0, 1, 4, 9, 511]
    assert teller.asked_from == [0, 4, 9]
    assert not cluster.HasField("next_instance")


def test_an_interconnect_without_pages_has_told_all():
    teller = Teller(page(0, 1, 2))
    assert ids(whole_cluster(teller)) == [0, 1, 2]
    assert teller.asked_from == [0]


def test_what_another_interconnect_goes_on_telling_is_read_anew():
    teller = Teller(page(0, next_instance=1), page(1, epoch=2), page(0, 1, epoch=2))
    cluster = whole_cluster(teller)
    assert (cluster.epoch, ids(cluster)) == (2, [0, 1])
    assert teller.asked_from == [0, 1, 0]


def test_an_interconnect_that_dies_between_pages_again_and_again_is_told():
    dying = [page(n, next_instance=n + 1, epoch=n) for n in range(2 * MAX_BEGINNINGS)]
    with pytest.raises(UnavailableError, match=f"another one {MAX_BEGINNINGS} times"):
        whole_cluster(Teller(*dying))


def test_pages_that_lead_nowhere_are_a_protocol_error():
    with pytest.raises(ProtocolError, match="after the page from instance 1 on comes 1"):
        whole_cluster(Teller(page(0, next_instance=1), page(1, next_instance=1)))


def test_the_client_reads_all_pages(peer):
    peer.will("GetCluster", page(0, next_instance=1), page(1))
    with Client(peer.address) as client:
        assert [instance.name for instance in client.cluster().instances] == ["mk0", "mk1"]
    assert [request.first_instance for request in peer.requests] == [0, 1]
