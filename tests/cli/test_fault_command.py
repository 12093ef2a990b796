"""``mkrpc fault``, ``pause`` and ``resume``."""

import json

import pytest

from mkrpc.errors import ClusterStateError, NotFoundError
from mkrpc.v1 import control_pb2 as pb

INJECTED = pb.InjectedFault(
    number=3,
    fault=pb.Fault(kind=pb.FAULT_KIND_DELAY, instance_id=1, delay_us=5_000, seed=0xAB),
    text="delay link of 1, 5 ms",
    age_us=1_500_000,
    left_us=2_500_000,
    struck=7,
)


@pytest.fixture
def inject(run, peer, two_instances):
    """``inject(*arguments)``: what ``mkrpc fault`` asks for."""
    peer.will("GetCluster", two_instances)
    peer.will("SetFault", pb.SetFaultResponse(fault=INJECTED))

    def asked(*arguments: str) -> pb.Fault:
        result = run("fault", *arguments, "--address", peer.address)
        assert result.exit_code == 0, result.stderr
        return peer.requests[-1].fault

    return asked


@pytest.mark.parametrize(
    ("arguments", "asked"),
    [
        ("drop", pb.Fault(kind=pb.FAULT_KIND_DROP)),
        (
            "drop --source web --destination 7 --vector 0xea --every 10 --limit 5 --for 1.5",
            pb.Fault(
                kind=pb.FAULT_KIND_DROP,
                source=1,
                destination=7,
                vector=0xEA,
                every=10,
                limit=5,
                for_us=1_500_000,
            ),
        ),
        ("drop --share 0.1 --seed 0x2a", pb.Fault(kind=pb.FAULT_KIND_DROP, share=0.1, seed=0x2A)),
        (
            "delay --instance 1 --delay-ms 5 --jitter-ms 0.5 --direction up",
            pb.Fault(
                kind=pb.FAULT_KIND_DELAY,
                instance_id=1,
                delay_us=5_000,
                jitter_us=500,
                direction=pb.LINK_DIRECTION_UP,
            ),
        ),
        ("duplicate", pb.Fault(kind=pb.FAULT_KIND_DUPLICATE)),
        ("reorder", pb.Fault(kind=pb.FAULT_KIND_REORDER, every=16)),
        ("reorder --share 0.5", pb.Fault(kind=pb.FAULT_KIND_REORDER, share=0.5)),
        (
            "partition --instance db --direction down",
            pb.Fault(kind=pb.FAULT_KIND_PARTITION, instance_id=2, direction=pb.LINK_DIRECTION_DOWN),
        ),
        ("flap --period-ms 200", pb.Fault(kind=pb.FAULT_KIND_FLAP, period_us=200_000)),
    ],
)
def test_a_fault_is_asked_for_as_typed(inject, arguments, asked):
    assert inject(*arguments.split()) == asked


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("drop --every 0", "'--every'"),
        ("drop --share 0", "'--share'"),
        ("drop --vector 0x100", "'--vector'"),
        ("drop --every 2 --share 0.5", "both a share and an every"),
        ("delay", "by 0 ms"),
        ("reorder --every 1", "more than every second frame"),
        ("flap", "'--period-ms'"),
        ("flap --period-ms 1", "a cut every 1 ms"),
    ],
)
def test_what_cannot_be_exits_2_before_anybody_is_asked(run, peer, told, arguments, says):
    result = run("fault", *arguments.split(), "--address", peer.address)
    assert result.exit_code == 2
    assert says in told(result)[0]
    assert peer.requests == []


def test_a_fault_says_what_it_does_and_for_how_long(run, peer):
    peer.will("SetFault", pb.SetFaultResponse(fault=INJECTED))
    command = ("fault", "delay", "--delay-ms", "5", "--for", "4", "--address", peer.address)
    assert run(*command).stdout == "fault 3 (delay link of 1, 5 ms) for 4 s\n"
    (fault,) = json.loads(run(*command, "--json").stdout)["faults"]
    assert (fault["number"], fault["kind"], fault["instance"]) == (3, "delay", 1)
    assert (fault["delay_ms"], fault["left_s"], fault["seed"]) == (5.0, 2.5, f"{0xAB:016x}")
    assert fault["source"] is None


def test_faults_are_listed_and_cleared(run, peer):
    peer.will("ListFaults", pb.ListFaultsResponse(faults=[INJECTED]), pb.ListFaultsResponse())
    listed = run("fault", "list", "--address", peer.address).stdout.splitlines()
    assert listed[0].split() == ["fault", "what", "age", "left", "struck"]
    assert " ".join(listed[1].split()) == "3 delay link of 1, 5 ms 1.5 s 2.5 s 7"
    assert run("fault", "list", "--address", peer.address).stdout == "no faults\n"
    assert json.loads(run("fault", "list", "--json", "--address", peer.address).stdout) == {
        "faults": []
    }

    peer.will("ClearFaults", pb.ClearFaultsResponse(faults=[INJECTED]), pb.ClearFaultsResponse())
    cleared = run("fault", "clear", "3", "--address", peer.address)
    assert cleared.stdout == "cleared fault 3 (delay link of 1, 5 ms): struck 7\n"
    assert list(peer.requests[-1].numbers) == [3]
    assert run("fault", "clear", "--address", peer.address).stdout == "no faults\n"
    assert list(peer.requests[-1].numbers) == []


def test_a_fault_that_is_not_there_is_refused(run, peer, told):
    peer.will("ClearFaults", NotFoundError("there is no fault 9", advice="there are: none"))
    result = run("fault", "clear", "9", "--address", peer.address)
    assert (result.exit_code, told(result)[0]) == (3, "mkrpc: there is no fault 9")


def test_pause_and_resume_take_names_and_numbers(run, peer, two_instances):
    peer.will("GetCluster", two_instances)
    peer.will("PauseInstance", pb.PauseInstanceResponse(pid=77))
    peer.will("ResumeInstance", pb.ResumeInstanceResponse(pid=77))
    result = run("pause", "web", "--address", peer.address)
    assert result.stdout == "instance 1 (web), process 77, is stopped until `mkrpc resume 1`\n"
    assert (peer.requests[-1].instance_id, peer.requests[-1].for_us) == (1, 0)
    result = run("pause", "1", "--for", "0.5", "--json", "--address", peer.address)
    assert json.loads(result.stdout) == {"id": 1, "name": "web", "pid": 77, "for_s": 0.5}
    assert peer.requests[-1].for_us == 500_000
    result = run("resume", "1", "--address", peer.address)
    assert result.stdout == "instance 1 (web), process 77, goes on\n"
    assert run("resume", "1", "--json", "--address", peer.address).exit_code == 0


def test_a_pause_without_a_host_agent_is_refused_by_name(run, peer, told, two_instances):
    peer.will("GetCluster", two_instances)
    peer.will("PauseInstance", ClusterStateError("no host agent is attached", advice="start it"))
    result = run("pause", "1", "--address", peer.address)
    assert (result.exit_code, told(result)[0]) == (3, "mkrpc: no host agent is attached")


def test_show_says_which_faults_there_are(run, peer, two_instances):
    cluster = pb.GetClusterResponse()
    cluster.CopyFrom(two_instances)
    cluster.faults.append(INJECTED)
    peer.will("GetCluster", cluster)
    assert "\nfaults 3 (delay link of 1, 5 ms)\n" in run("show", "--address", peer.address).stdout
    shown = json.loads(run("show", "--json", "--address", peer.address).stdout)
    assert [fault["number"] for fault in shown["faults"]] == [3]
