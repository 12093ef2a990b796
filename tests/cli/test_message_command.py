"""``mkrpc message`` and ``mkrpc cpu --ask``, the other side being scripted."""

import json

import pytest

from mkrpc.errors import LimitReachedError
from mkrpc.v1 import control_pb2 as pb


def response(way: str, fate: str) -> pb.SendMessageResponse:
    return pb.SendMessageResponse(way=way, fate=fate)


@pytest.mark.parametrize(
    ("way", "fate", "code", "says"),
    [
        ("memory", "taken", 0, "instance 2 (db) has taken it; sent over shared memory"),
        ("memory", "waiting", 1, "instance 2 (db) has not taken it in 2 s: "),
        ("memory", "left", 1, "instance 2 (db) has ended, and may have taken it before; "),
        (
            "interconnect",
            "lost(target_dead)",
            1,
            "instance 2 (db) does not get it: lost(target_dead); sent through the interconnect",
        ),
    ],
)
def test_what_became_of_it_is_one_line_and_perhaps_advice(
    run, peer, two_instances, *, way, fate, code, says
) -> None:
    peer.will("GetCluster", two_instances)
    peer.will("SendMessage", response(way, fate))
    done = run("message", "web", "2", "hi", "--wait", "2", "--address", peer.address)
    assert done.exit_code == code
    line = done.stderr if code else done.stdout
    assert line.startswith(says)
    assert len(line.splitlines()) == (2 if fate == "waiting" else 1), "advice, where there is any"
    asked = peer.requests[-1]
    assert (asked.sender, asked.target, asked.text, asked.ipi_type) == (1, 2, "hi", 0x4000)
    assert asked.patience_us == 2_000_000


def test_as_json_and_with_a_type(run, peer, two_instances) -> None:
    peer.will("GetCluster", two_instances)
    peer.will("SendMessage", response("memory", "waiting"))
    options = ("--json", "--type", "0x5000", "--address", peer.address)
    done = run("message", "web", "db", "hi", *options)
    assert done.exit_code == 1
    assert json.loads(done.stdout) == {"from": 1, "to": 2, "way": "memory", "fate": "waiting"}
    assert peer.requests[-1].ipi_type == 0x5000


def test_a_refusal_has_its_errno(run, peer, told, two_instances) -> None:
    peer.will("GetCluster", two_instances)
    peer.will("SendMessage", LimitReachedError("ENOSPC: instance 1 cannot send", advice="wait"))
    done = run("message", "web", "db", "hi", "--address", peer.address)
    assert done.exit_code == 3
    assert told(done)[0] == "mkrpc: ENOSPC: instance 1 cannot send"


def test_a_cpu_is_asked_for_by_an_instance(run, peer, two_instances) -> None:
    peer.will("GetCluster", two_instances)
    peer.will("AskForCpu", pb.AskForCpuResponse(owner=2))
    peer.will("GetCpu", pb.GetCpuResponse(instance_id=2))
    run("cpu", "7", "--online", "off", "--ask", "web", "--address", peer.address)
    asked = next(each for each in peer.requests if isinstance(each, pb.AskForCpuRequest))
    assert (asked.asker, asked.apic_id, asked.online) == (1, 7, False)


def test_ask_alone_is_wrong_usage(run) -> None:
    done = run("cpu", "7", "--ask", "web")
    assert done.exit_code == 2
    assert "--ask goes with --online" in done.stderr
