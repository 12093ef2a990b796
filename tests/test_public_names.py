"""``import mkrpc``: public names come from their rooms when they are first used."""

import importlib
import subprocess
import sys

import pytest

import mkrpc


def fresh(code: str) -> list[str]:
    """What a fresh interpreter prints, in words."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.split()


@pytest.mark.parametrize("name", mkrpc.__all__)
def test_a_public_name_is_that_of_its_room(name):
    room = importlib.import_module(mkrpc._HOMES[name])
    assert getattr(mkrpc, name) is getattr(room, name)
    assert name in room.__all__


def test_the_list_of_names_and_that_of_their_rooms_agree():
    assert sorted(mkrpc._HOMES) == sorted(mkrpc.__all__)


def test_an_unknown_name_is_an_attribute_error_that_says_so():
    with pytest.raises(AttributeError, match="module 'mkrpc' has no attribute 'nonsense'"):
        _ = mkrpc.nonsense
    with pytest.raises(ImportError, match="nonsense"):
        exec("from mkrpc import nonsense")


@pytest.mark.parametrize("use", ["", "; mkrpc.Machine", "; mkrpc.Topology; mkrpc.Outcome"])
def test_neither_the_package_nor_its_pure_names_bring_grpc_in(use):
    loaded = fresh(f"import sys, mkrpc{use}; print(*sys.modules)")
    assert "mkrpc" in loaded
    assert "grpc" not in loaded


def test_the_client_does():
    """So that the test above can fail."""
    assert "grpc" in fresh("import sys, mkrpc; mkrpc.Client; print(*sys.modules)")
