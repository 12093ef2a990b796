"""A scripted peer at the wire: a real gRPC server whose answers a test writes down beforehand."""

import tempfile
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from mkrpc.errors import MkrpcError
from mkrpc.transport.status import abort_arguments
from mkrpc.v1 import control_pb2 as pb
from mkrpc.v1 import control_pb2_grpc


class ScriptedControl(control_pb2_grpc.ControlServicer):
    """Answers each method from its own queue; an error in the queue is raised as the wire has it.

    The last answer of a queue stays, so that a repeated question gets it again.
    """

    def __init__(self) -> None:
        self.address = ""
        self.requests: list = []
        self._script: dict[str, deque] = {}

    def will(self, method: str, *answers: object) -> None:
        self._script[method] = deque(answers)

    def answer(self, method: str, request, context):
        self.requests.append(request)
        if method not in self._script:
            context.abort(grpc.StatusCode.UNIMPLEMENTED, f"the test has no answer to {method}")
        queue = self._script[method]
        answer = queue.popleft() if len(queue) > 1 else queue[0]
        if isinstance(answer, MkrpcError):
            code, details, metadata = abort_arguments(answer)
            context.set_trailing_metadata(metadata)
            context.abort(code, details)
        if isinstance(answer, grpc.StatusCode):
            context.abort(answer, "said without ErrorInfo")
        return answer


def _method(name: str):
    return lambda self, request, context: self.answer(name, request, context)


for _name in pb.DESCRIPTOR.services_by_name["Control"].methods_by_name:
    setattr(ScriptedControl, _name, _method(_name))


@pytest.fixture
def peer() -> Iterator[ScriptedControl]:
    servicer = ScriptedControl()
    server = grpc.server(ThreadPoolExecutor(max_workers=2))
    control_pb2_grpc.add_ControlServicer_to_server(servicer, server)
    # A short path: pytest's own directories can exceed the 107 bytes of a socket address.
    with tempfile.TemporaryDirectory() as directory:
        servicer.address = f"unix:{directory}/s"
        server.add_insecure_port(servicer.address)
        server.start()
        yield servicer
        server.stop(None).wait()
