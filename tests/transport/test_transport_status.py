"""Errors on the wire: google.rpc.Status with ErrorInfo, and back."""

import grpc
import pytest

from mkrpc.errors import MkrpcError, UnavailableError
from mkrpc.transport.status import abort_arguments, error_of


@pytest.mark.parametrize("size", [0, 767, 768, 100_000])
@pytest.mark.parametrize("letter", ["a", "é", "\n"])
def test_any_error_fits_a_status(size: int, letter: str) -> None:
    error = MkrpcError(letter * size, advice=letter * size)
    code, details, metadata = abort_arguments(error)
    assert len(details.encode()) <= 768
    assert sum(len(value) for _, value in metadata) < 4096
    assert str(error_of(code, details, metadata)) == details


@pytest.mark.parametrize("serialized", [b"", b"\xff", b"\x1a\x02\x0a\x00"])
def test_foreign_status_details_fall_back_on_the_code(serialized: bytes) -> None:
    error = error_of(grpc.StatusCode.UNAVAILABLE, "a\nb", [("grpc-status-details-bin", serialized)])
    assert type(error) is UnavailableError
    assert str(error) == "a b"
