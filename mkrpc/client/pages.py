"""A cluster that is told page by page."""

from collections.abc import Callable

from mkrpc.errors import ProtocolError, UnavailableError
from mkrpc.v1 import control_pb2 as pb

__all__ = ["MAX_BEGINNINGS", "whole_cluster"]

MAX_BEGINNINGS = 4
"""Times that the pages are read from the first one on, if interconnects die meanwhile."""


def whole_cluster(
    ask: Callable[[pb.GetClusterRequest], pb.GetClusterResponse],
) -> pb.GetClusterResponse:
    """All pages as one answer, that of the first with the instances of all.

    What another interconnect begins to tell in the middle is read from the beginning:
    UnavailableError if that happens :data:`MAX_BEGINNINGS` times. ProtocolError for pages that lead
    nowhere. An interconnect that knows no pages gives all at once.
    """
    for _ in range(MAX_BEGINNINGS):
        cluster = ask(pb.GetClusterRequest(paged=True))
        page = cluster
        while page.HasField("next_instance") and page.epoch == cluster.epoch:
            begin = page.next_instance
            page = ask(pb.GetClusterRequest(paged=True, first_instance=begin))
            if page.HasField("next_instance") and page.next_instance <= begin:
                raise ProtocolError(
                    f"after the page from instance {begin} on comes {page.next_instance}",
                    advice="use the same version of mkrpc on both sides",
                )
            cluster.instances.extend(page.instances)
        if page.epoch == cluster.epoch:
            cluster.ClearField("next_instance")
            return cluster
    raise UnavailableError(
        f"the interconnect was another one {MAX_BEGINNINGS} times while it told of its instances",
        advice="`mkrpc show` tells of restarts; its log says why",
    )
