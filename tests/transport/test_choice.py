"""Which transport a process uses, and what it says when it is not the fast one."""

import asyncio
import os
import subprocess
import sys
from types import SimpleNamespace

import grpc
import pytest
import structlog

from mkrpc.errors import InvalidArgumentError, StartUpError
from mkrpc.transport import choice, queue_proof
from mkrpc.transport.queue_loop import QueueLoop


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(choice.TRANSPORT_VARIABLE, raising=False)
    monkeypatch.setattr(choice, "chosen", choice.chosen.__wrapped__)


def choose(monkeypatch: pytest.MonkeyPatch, wanted: str) -> choice.Transport:
    monkeypatch.setenv(choice.TRANSPORT_VARIABLE, wanted)
    return choice.chosen()


def test_either_can_be_forced(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose(monkeypatch, "aio").name == "aio"
    reactor = choose(monkeypatch, "reactor")
    assert (reactor.name, reactor.loop, reactor.new_loop) == ("reactor", "queue", QueueLoop)


def test_grpc_aio_runs_on_uvloop_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Loop(asyncio.SelectorEventLoop):
        pass

    monkeypatch.setitem(sys.modules, "uvloop", SimpleNamespace(new_event_loop=Loop))
    assert (choose(monkeypatch, "aio").loop, choose(monkeypatch, "aio").new_loop) == (
        "uvloop",
        Loop,
    )
    monkeypatch.setitem(sys.modules, "uvloop", None)  # as if it were not
    plain = choose(monkeypatch, "aio")
    assert (plain.loop, plain.new_loop) == ("asyncio", asyncio.new_event_loop)


def test_the_reactor_is_found_to_work_here(monkeypatch: pytest.MonkeyPatch) -> None:
    with structlog.testing.capture_logs() as logs:
        assert choose(monkeypatch, "auto").name == "reactor"
    assert not logs


def test_without_a_word_it_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choice.chosen().name == choose(monkeypatch, choice.DEFAULT_CHOICE).name


def test_a_choice_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidArgumentError, match="MKRPC_TRANSPORT is 'fast'") as refused:
        choose(monkeypatch, "fast")
    assert refused.value.advice == "give aio, reactor or auto"


@pytest.mark.parametrize(
    ("version", "is_tested"),
    [
        ("1.81.0", True),
        ("1.85.1", True),
        ("1.85.0rc1", True),
        ("1.80.9", False),
        ("1.86.0", False),
        ("2.1.0", False),
        ("1.9.0", False),
        ("unknown", False),
    ],
)
def test_versions_whose_private_interface_has_been_tried(version: str, is_tested: bool) -> None:
    assert (choice.untested(version) == "") is is_tested


def test_an_untested_version_falls_back_with_a_line_in_the_log(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(grpc, "__version__", "1.99.0")
    with structlog.testing.capture_logs() as logs:
        assert choose(monkeypatch, "auto").name == "aio"
    assert [log["log_level"] for log in logs] == ["warning"]
    assert "grpcio 1.99.0 is not among the tested versions, 1.81 to 1.85" in logs[0]["why"]
    assert choose(monkeypatch, "reactor").name == "reactor"  # forced is forced


def test_a_reactor_that_does_not_work_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_proof, "prove", lambda: "AttributeError: no request_call")
    with structlog.testing.capture_logs() as logs:
        assert choose(monkeypatch, "auto").name == "aio"
    assert logs[0]["why"] == "AttributeError: no request_call"
    with pytest.raises(StartUpError, match="no request_call") as refused:
        choose(monkeypatch, "reactor")
    assert "aio" in refused.value.advice


def test_the_proof_proves() -> None:
    assert queue_proof.prove() == ""


@pytest.mark.parametrize(
    ("breakage", "found"),
    [
        # A private class that is gone, one that takes other arguments, and one that does nothing.
        ("del c._cygrpc.SendMessageOperation", "AttributeError"),
        ("c._cygrpc.Server = lambda: None", "TypeError"),
        (
            "c.ServerQueue.look = lambda self: time.sleep(0.01); queue_proof.PROOF_TIMEOUT_S = 0.5",
            "does not answer in time",
        ),
    ],
    ids=["gone", "changed", "silent"],
)
def test_the_proof_fails_where_it_must(breakage: str, found: str) -> None:
    """In a process of its own: what a broken grpcio leaves behind dies with it."""
    code = f"""
import os, time
from mkrpc.transport import completion_queue as c, queue_proof
from types import SimpleNamespace
c._cygrpc = SimpleNamespace(**vars(c._cygrpc))
queue_proof.PROOF_TIMEOUT_S = 60
{breakage}
print(queue_proof.prove(), flush=True)
os._exit(0)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env=os.environ,
    )
    assert found in done.stdout, done.stderr
