"""Beats of instances on threads of their own, past the event loop and all that waits for it.

An instance whose beats over its stream are answered too late, behind a flood, beats here as well.
What is answered here must count: the event loop takes what has been heard and looks for leases that
have ended under one lock, so that no beat is answered in between (design 3.3, rule 5).
"""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias

import grpc
import structlog
from google.protobuf.message import DecodeError

from mkrpc.codec import core_state_from_pb
from mkrpc.errors import MkrpcError, ProtocolError, UnavailableError
from mkrpc.frame_codec import BEAT
from mkrpc.link.lease import MAX_BEAT_CORES, MAX_WHERE
from mkrpc.transport.address import BEATS_SUFFIX, MAX_PATH_BYTES, Address
from mkrpc.transport.aio import SERVER_OPTIONS
from mkrpc.transport.status import abort_arguments
from mkrpc.transport.supervision import end_loudly
from mkrpc.v1 import interconnect_pb2 as pb
from mkrpc.x86.pending import CoreState

__all__ = ["MAX_BEATS", "BeatServer"]

THREADS = 4
"""They only look into a set; what is slow is to get the interpreter's lock."""

MAX_BEATS = 1024
"""Beats that wait for a thread; the next one is refused, and its instance beats again."""

_Context: TypeAlias = "grpc.ServicerContext"
_log = structlog.get_logger("mkrpc.interconnect")


class BeatServer(grpc.GenericRpcHandler):
    """Answers beats of the incarnations in ``open``, and remembers whose were answered.

    Injected faults keep those of ``unheard`` from being heard, and answers from ``unanswered``.
    """

    def __init__(self) -> None:
        self.open: set[bytes] = set()
        self.unheard: frozenset[bytes] = frozenset()
        self.unanswered: frozenset[bytes] = frozenset()
        self.heard: set[bytes] = set()
        """Whose beats have been answered since :meth:`take_heard`."""
        self.told: dict[bytes, tuple[tuple[CoreState, ...], str]] = {}
        """What they have told since :meth:`take_told`."""
        self.lock = threading.Lock()
        self._server: grpc.Server | None = None
        self._handler: Any = grpc.unary_unary_rpc_method_handler(self._beat)

    def start(self, beside: Address) -> str:
        """Serve beside another server: the address for :class:`~mkrpc.link.frames.Welcome`.

        It is empty if there is no place: a Unix socket's path that is too long, or no port free.
        Instances then beat over their streams alone.
        """
        server = grpc.server(
            ThreadPoolExecutor(THREADS, "beats"),
            options=SERVER_OPTIONS,
            maximum_concurrent_rpcs=MAX_BEATS,
        )
        server.add_generic_rpc_handlers((self,))
        if beside.is_unix:
            address = Address(path=beside.path + BEATS_SUFFIX)
            if len(address.path.encode()) > MAX_PATH_BYTES:
                _log.warning("no room for the socket of beats", path=address.path)
                return ""
            told = str(address)
        else:
            address = Address(host=beside.host)
        try:
            port = server.add_insecure_port(address.listen_target)
        except (RuntimeError, OSError) as failure:
            _log.warning("cannot listen for beats", address=str(address), error=str(failure))
            return ""
        server.start()
        self._server = server
        return told if beside.is_unix else f":{port}"

    def stop(self) -> None:
        """Answer no more."""
        if self._server is not None:
            self._server.stop(None)

    def take_heard(self) -> set[bytes]:
        """Whose beats have been answered since the last time; with the ``lock`` held, which keeps
        any from being answered."""
        assert self.lock.locked()
        heard, self.heard = self.heard, set()
        return heard

    def take_told(self) -> dict[bytes, tuple[tuple[CoreState, ...], str]]:
        """What beats have told since the last time, by incarnation: CPUs, and where the loop is."""
        with self.lock:
            told, self.told = self.told, {}
            return told

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        """The handler of a method, or None."""
        return self._handler if handler_call_details.method == BEAT else None

    def _beat(self, request: bytes, context: _Context) -> bytes:
        try:
            incarnation, cores, where = _decoded(request)
            with self.lock:
                if incarnation not in self.open:
                    raise UnavailableError("no such incarnation has a stream here")
                if incarnation in self.unheard:
                    raise UnavailableError("an injected fault keeps this beat back")
                self.heard.add(incarnation)
                if incarnation in self.unanswered:
                    raise UnavailableError("an injected fault keeps the answer back")
                self.told[incarnation] = cores, where
        except MkrpcError as error:
            code, text, metadata = abort_arguments(error)
            context.set_trailing_metadata(metadata)
            context.abort(code, text)
        except Exception as bug:  # noqa: BLE001 - gRPC would answer it away
            end_loudly(bug, "the threads that answer beats")
        return pb.BeatResponse().SerializeToString()


def _decoded(request: bytes) -> tuple[bytes, tuple[CoreState, ...], str]:
    try:
        beat = pb.BeatRequest.FromString(request)
    except DecodeError:
        raise ProtocolError("a message that is no BeatRequest") from None
    if len(beat.cores) > MAX_BEAT_CORES or len(beat.where) > MAX_WHERE:
        raise ProtocolError(f"a beat that tells of {len(beat.cores)} CPUs")
    return beat.incarnation, tuple(map(core_state_from_pb, beat.cores)), beat.where
