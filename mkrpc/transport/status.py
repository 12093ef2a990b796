"""Errors on the wire: a gRPC status with google.rpc.ErrorInfo, and back.

The only place that knows both sides, for byte streams and unary calls alike. The reason travels
in ErrorInfo with the domain ``mkrpc``, the advice in its metadata, so that a foreign client can
read both and ours raises the same class with the same words.
"""

from collections.abc import Iterable
from typing import Final, TypeAlias

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from mkrpc.errors import (
    DeadlineExceededError,
    FrameTooLargeError,
    InternalError,
    InvalidArgumentError,
    LimitReachedError,
    MkrpcError,
    ProtocolError,
    UnavailableError,
    error_for_reason,
)

__all__ = ["ERROR_DOMAIN", "AbortArguments", "abort_arguments", "carries_error_info", "error_of"]

ERROR_DOMAIN: Final = "mkrpc"
"""The ``domain`` of every ErrorInfo that mkrpc sends."""

_DETAILS_KEY = "grpc-status-details-bin"
_ADVICE_KEY = "advice"
# A status travels in the trailing metadata, of which a receiver takes 8 KiB by default, and
# the message rides twice (once percent-encoded, up to three bytes for one).
_MAX_TEXT_BYTES = 768
# C-core's words for a message beyond the limit; it sends no ErrorInfo of its own.
_TOO_LARGE_TEXT = "larger than max"


_CLASS_BY_CODE: dict[grpc.StatusCode, type[MkrpcError]] = {
    grpc.StatusCode.CANCELLED: UnavailableError,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceededError,
    grpc.StatusCode.INTERNAL: InternalError,
    grpc.StatusCode.INVALID_ARGUMENT: InvalidArgumentError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: LimitReachedError,
    grpc.StatusCode.UNAVAILABLE: UnavailableError,
    grpc.StatusCode.UNIMPLEMENTED: ProtocolError,
}


AbortArguments: TypeAlias = tuple[grpc.StatusCode, str, tuple[tuple[str, bytes], ...]]
"""Code, details and trailing metadata, as ``context.abort`` takes them."""


def abort_arguments(error: MkrpcError) -> AbortArguments:
    """The status that carries ``error`` whole: class by reason, message, advice.

    Texts are clipped to 768 bytes each, so that the status always fits a receiver's limit.
    """
    text = _clip(str(error))
    info = error_details_pb2.ErrorInfo(reason=error.reason, domain=ERROR_DOMAIN)
    if error.advice:
        info.metadata[_ADVICE_KEY] = _clip(error.advice)
    packed = AnyMessage()
    packed.Pack(info)
    code = grpc.StatusCode[error.status]
    status = status_pb2.Status(code=code.value[0], message=text, details=[packed])
    return code, text, ((_DETAILS_KEY, status.SerializeToString()),)


def carries_error_info(trailing_metadata: Iterable[tuple[str, str | bytes]]) -> bool:
    """Whether an mkrpc server ended the call, by the name of an error; else it broke by itself."""
    return any(
        key == _DETAILS_KEY and isinstance(value, bytes) and _error_from_details(value) is not None
        for key, value in trailing_metadata
    )


def error_of(
    code: grpc.StatusCode, details: str, trailing_metadata: Iterable[tuple[str, str | bytes]] = ()
) -> MkrpcError:
    """The typed error that a call ended with, ErrorInfo first, the bare status code otherwise."""
    for key, value in trailing_metadata:
        if key == _DETAILS_KEY and isinstance(value, bytes):
            error = _error_from_details(value)
            if error is not None:
                return error
    text = " ".join(details.split()) or f"the call ended with {code.name}"
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED and _TOO_LARGE_TEXT in text:
        return FrameTooLargeError(text, advice="send less at a time")
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return ProtocolError(
            f"the server does not know this method: {text}",
            advice="check that the address is an mkrpc server of the same version",
        )
    return _CLASS_BY_CODE.get(code, MkrpcError)(text)


def _error_from_details(serialized: bytes) -> MkrpcError | None:
    try:
        status = status_pb2.Status.FromString(serialized)
        for packed in status.details:
            info = error_details_pb2.ErrorInfo()
            if packed.Unpack(info) and info.domain == ERROR_DOMAIN:
                advice = info.metadata.get(_ADVICE_KEY, "")
                cls = error_for_reason(info.reason)
                return cls(status.message, advice=advice)
    except DecodeError:
        # A peer's bytes that are no Status: the bare code and text still say what happened.
        return None
    return None


def _clip(text: str) -> str:
    data = text.encode("utf-8", "backslashreplace")
    if len(data) <= _MAX_TEXT_BYTES:
        return data.decode("utf-8")
    return data[: _MAX_TEXT_BYTES - 3].decode("utf-8", "ignore") + "..."
