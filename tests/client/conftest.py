"""What the tests of the client share: one that is connected to the scripted peer."""

from collections.abc import Iterator
from typing import Any

import pytest

from mkrpc.client import Client
from mkrpc.v1 import control_pb2 as pb
from mkrpc.v1 import types_pb2


@pytest.fixture
def client(peer: Any) -> Iterator[Client]:
    with Client(peer.address) as connected:
        yield connected


@pytest.fixture(scope="session")
def delivered() -> pb.InjectResponse:
    """The answer to an injection of which one leg was delivered."""
    leg = pb.LegCount(apic_id=2, instance_id=1, outcome=types_pb2.OUTCOME_DELIVERED, count=1)
    return pb.InjectResponse(written=1, legs=[leg])
