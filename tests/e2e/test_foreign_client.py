"""A client that knows nothing but gRPC and reflection injects an interrupt."""

import grpc
import pytest
from google.protobuf import json_format
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

pytestmark = pytest.mark.e2e


def test_reflection_is_enough_to_inject(mk_cluster_factory, read_cal):
    cluster = mk_cluster_factory(address="127.0.0.1:0")
    with grpc.insecure_channel(cluster.address) as channel:
        reflected = ProtoReflectionDescriptorDatabase(channel)
        assert "mkrpc.v1.Control" in reflected.get_services()
        pool = DescriptorPool(reflected)
        method = pool.FindServiceByName("mkrpc.v1.Control").FindMethodByName("Inject")
        request = json_format.ParseDict(
            {"destination": {"apicId": 2}, "count": 3}, GetMessageClass(method.input_type)()
        )
        call = channel.unary_unary(
            "/mkrpc.v1.Control/Inject",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=GetMessageClass(method.output_type).FromString,
        )
        answer = json_format.MessageToDict(call(request, timeout=10))
    assert answer == {
        "written": "3",
        "legs": [
            {"apicId": 2, "instanceId": 1, "outcome": "OUTCOME_DELIVERED", "count": "3"},
        ],
        "atLeastOnce": True,
        "roster": "3",
    }
    assert read_cal(cluster, 1) == [3, 0]


@pytest.mark.parametrize("service", ["", "mkrpc.v1.Control", "mkrpc.v1.Interconnect"])
def test_health_is_served(mk_cluster_factory, service):
    cluster = mk_cluster_factory(address="127.0.0.1:0")
    with grpc.insecure_channel(cluster.address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        answer = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=10)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING
