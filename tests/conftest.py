"""What all tests share: the two tiers, and a scripted peer at the wire.

Tests marked ``full`` run only with ``--full``, which also makes hypothesis try ten times as many
examples. The peer is a real gRPC server whose answers a test writes down beforehand.
"""

import signal
import tempfile
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from compiled_model import skip_pure
from hypothesis import HealthCheck, settings
from one_cluster import pytest_xdist_make_scheduler  # noqa: F401 - a hook

from mkrpc.compiled.finder import state
from mkrpc.errors import MkrpcError
from mkrpc.transport.status import abort_arguments
from mkrpc.v1 import control_pb2 as pb
from mkrpc.v1 import control_pb2_grpc

QUICK_EXAMPLES = 100

# What nohup or a shell's & has switched off would stay off in every process that a test starts.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# No deadline for one example: on a busy machine it would fail tests at random.
settings.register_profile("quick", max_examples=QUICK_EXAMPLES, deadline=None)
settings.register_profile(
    "full",
    max_examples=10 * QUICK_EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--full", action="store_true", help="also the larger row counts and longer runs"
    )
    parser.addoption(
        "--model-steps",
        type=int,
        metavar="N",
        help="steps of the state machine that compares the machine with the naive one",
    )


def pytest_report_header() -> str:
    """What the tests are of."""
    return f"model: {state().text}"


def pytest_configure(config: pytest.Config) -> None:
    """Before test files are read: what they derive from the profile must be of the right one."""
    if config.getoption("--hypothesis-profile", None) is None:
        settings.load_profile("full" if config.getoption("--full") else "quick")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the full tier out, unless asked for; pytest says how many were deselected."""
    skip_pure(items)
    if config.getoption("--full"):
        return
    left_out = [item for item in items if item.get_closest_marker("full")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


class ScriptedControl(control_pb2_grpc.ControlServicer):
    """Answers each method from its own queue; an error in the queue is raised as the wire has it.

    A client that asks for the roster number before its first injection is told ``roster``.

    The last answer of a queue stays, so that a repeated question gets it again. The answer of a
    stream is the list of its messages, or an iterator.
    """

    def __init__(self) -> None:
        self.address = ""
        self.port = 0
        self.roster = 7
        self.requests: list = []
        self._script: dict[str, deque] = {}
        self.stop = lambda: None

    def will(self, method: str, *answers: object) -> None:
        self._script[method] = deque(answers)

    def answer(self, method: str, request, context):
        if method == "GetCluster" and request.summary and method not in self._script:
            return pb.GetClusterResponse(roster=self.roster)
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
        return iter(answer) if isinstance(answer, list) else answer


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
        servicer.port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        servicer.stop = lambda: server.stop(None).wait()
        yield servicer
        server.stop(None).wait()
