"""The verbs of the lifecycle as commands: what ``mkrpc create``, ``update``, ``load``, ``exec``,
``kill``, ``unload`` and ``delete`` ask for and print, and how each refusal looks and ends."""

import json
from typing import Any

import pytest

from mkrpc.errors import (
    MkrpcError,
    NoCpuError,
    StuckError,
)
from mkrpc.interconnect.cpu_pool import check_name, choose_cpus, choose_id
from mkrpc.interconnect.image import check_image
from mkrpc.lifecycle import HOST_REFUSES, TABLE, InstanceState, Refusal, Verb, next_state
from mkrpc.v1 import control_pb2 as pb
from mkrpc.v1 import types_pb2 as types

WEB_MADE = pb.CreateInstanceResponse(instance_id=3, name="api", apic_ids=[8, 4, 5])
LOADED = types.Image(
    cmdline="quiet",
    handlers=["a.b:c"],
    programs=[types.ImageProgram(cpu=1, entry="d:e"), types.ImageProgram(cpu=0, entry="f:g")],
)

SUCCESSES: list[tuple[str, list[str], Any, dict[str, Any], str, dict[str, Any]]] = [
    (
        "CreateInstance",
        ["create", "api", "--cpus", "8,4-0x5"],
        WEB_MADE,
        {"name": "api", "apic_ids": [8, 4, 5]},
        "instance 3 (api) has APIC ids 4-5,8",
        {"id": 3, "name": "api", "apic_ids": [8, 4, 5]},
    ),
    (
        "CreateInstance",
        ["create", "--id", "3", "--cpu-count", "3"],
        WEB_MADE,
        {"instance_id": 3, "cpu_count": 3},
        "instance 3 (api) has APIC ids 4-5,8",
        {"id": 3, "name": "api", "apic_ids": [8, 4, 5]},
    ),
    (
        "CreateInstance",
        ["create"],
        pb.CreateInstanceResponse(instance_id=3, name="mk3"),
        {},
        "instance 3 (mk3) has no CPUs",
        {"id": 3, "name": "mk3", "apic_ids": []},
    ),
    (
        "UpdateInstance",
        ["update", "db", "-c", "7,6"],
        pb.UpdateInstanceResponse(),
        {"instance_id": 2, "apic_ids": [7, 6]},
        "instance 2 (db) has APIC ids 6-7",
        {"id": 2, "name": "db", "apic_ids": [7, 6]},
    ),
    (
        "UpdateInstance",
        ["update", "2", "--cpus", ""],
        pb.UpdateInstanceResponse(),
        {"instance_id": 2},
        "instance 2 (db) has no CPUs",
        {"id": 2, "name": "db", "apic_ids": []},
    ),
    (
        "LoadInstance",
        [
            *("load", "db", "--cmdline", "quiet", "--handler", "a.b:c"),
            *("--program", "1=d:e", "--program", "f:g"),
        ],
        pb.LoadInstanceResponse(image=LOADED),
        {
            "instance_id": 2,
            "image": {
                "cmdline": "quiet",
                "handlers": ["a.b:c"],
                "programs": [{"entry": "f:g"}, {"cpu": 1, "entry": "d:e"}],
            },
        },
        "instance 2 (db): a kernel is loaded, with 1 handler, 2 programs, command line 'quiet'",
        {
            "id": 2,
            "name": "db",
            "image": {
                "cmdline": "quiet",
                "handlers": ["a.b:c"],
                "programs": {"1": "d:e", "0": "f:g"},
                "callables": 0,
            },
        },
    ),
    (
        "LoadInstance",
        ["load", "db"],
        pb.LoadInstanceResponse(image=types.Image(callables=2)),
        {"instance_id": 2},
        "instance 2 (db): a kernel is loaded, with 2 callables of a script",
        {
            "id": 2,
            "name": "db",
            "image": {"cmdline": "", "handlers": [], "programs": {}, "callables": 2},
        },
    ),
    (
        "LoadInstance",
        ["load", "db"],
        pb.LoadInstanceResponse(),
        {"instance_id": 2},
        "instance 2 (db): a kernel is loaded",
        {
            "id": 2,
            "name": "db",
            "image": {"cmdline": "", "handlers": [], "programs": {}, "callables": 0},
        },
    ),
    (
        "ExecInstance",
        ["exec", "db", "--cpu", "0x9"],
        pb.ExecInstanceResponse(pid=78),
        {"instance_id": 2, "apic_id": 9},
        "instance 2 (db) runs as process 78",
        {"id": 2, "name": "db", "pid": 78},
    ),
    (
        "ExecInstance",
        ["exec", "2", "--direct"],
        pb.ExecInstanceResponse(pid=78),
        {"instance_id": 2, "direct": True},
        "instance 2 (db) runs as process 78",
        {"id": 2, "name": "db", "pid": 78},
    ),
    (
        "KillInstance",
        ["kill", "web"],
        pb.KillInstanceResponse(exit_code=0),
        {"instance_id": 1},
        "instance 1 (web) ended with exit code 0",
        {"id": 1, "name": "web", "exit_code": 0},
    ),
    (
        "KillInstance",
        ["kill", "web", "--force", "--signal"],
        pb.KillInstanceResponse(exit_code=-9),
        {"instance_id": 1, "force": True, "signal": True},
        "instance 1 (web) was ended by SIGKILL",
        {"id": 1, "name": "web", "exit_code": -9},
    ),
    (
        "UnloadInstance",
        ["unload", "db"],
        pb.UnloadInstanceResponse(),
        {"instance_id": 2},
        "instance 2 (db) has nothing loaded",
        {"id": 2, "name": "db"},
    ),
    (
        "DeleteInstance",
        ["delete", "db"],
        pb.DeleteInstanceResponse(apic_ids=[4, 5, 7]),
        {"instance_id": 2},
        "instance 2 (db) is gone; back in the pool: APIC ids 4-5,7",
        {"id": 2, "name": "db", "apic_ids": [4, 5, 7]},
    ),
    (
        "DeleteInstance",
        ["delete", "db"],
        pb.DeleteInstanceResponse(),
        {"instance_id": 2},
        "instance 2 (db) is gone",
        {"id": 2, "name": "db", "apic_ids": []},
    ),
]


@pytest.mark.parametrize(("method", "words", "answer", "asked", "line", "as_json"), SUCCESSES)
def test_what_is_asked_for_and_what_is_printed(
    run, peer, two_instances, *, method, words, answer, asked, line, as_json
):
    peer.will("GetCluster", two_instances)
    peer.will(method, answer)
    result = run(*words, "--address", peer.address)
    assert (result.stdout, result.stderr, result.exit_code) == (f"{line}\n", "", 0)
    assert peer.requests[-1] == getattr(pb, f"{method}Request")(**asked)
    assert json.loads(run(*words, "--json", "--address", peer.address).stdout) == as_json


COMMANDS = {
    Verb.CREATE: (["create", "web", "--cpus", "4"], "CreateInstance"),
    Verb.CREATE_WITHOUT_CPUS: (["create", "web"], "CreateInstance"),
    Verb.UPDATE: (["update", "web", "--cpus", "4"], "UpdateInstance"),
    Verb.UPDATE_TO_NO_CPUS: (["update", "web", "--cpus", ""], "UpdateInstance"),
    Verb.LOAD: (["load", "web"], "LoadInstance"),
    Verb.EXEC: (["exec", "web"], "ExecInstance"),
    Verb.KILL: (["kill", "web"], "KillInstance"),
    Verb.UNLOAD: (["unload", "web"], "UnloadInstance"),
    Verb.DELETE: (["delete", "web"], "DeleteInstance"),
}


def refused(ask: Any, *arguments: Any, **named: Any) -> MkrpcError:
    """What is raised by it."""
    with pytest.raises(MkrpcError) as caught:
        ask(*arguments, **named)
    return caught.value


def refusals() -> dict[Verb, list[tuple[MkrpcError, int]]]:
    """Every refusal of the table, of the host, of ids, names, CPUs and images, and of a start, with
    the exit code of the command."""
    found: dict[Verb, list[tuple[MkrpcError, int]]] = {verb: [] for verb in Verb}
    for state in (None, *InstanceState):
        for verb, result in TABLE[state].items():
            if isinstance(result, Refusal):
                error = refused(next_state, state, verb, instance_id=1, name="web")
                found[verb].append((error, 3))
    for verb in HOST_REFUSES:
        error = refused(next_state, InstanceState.READY, verb, instance_id=0, name="mk0")
        found[verb].append((error, 3))
    found[Verb.CREATE] += [
        (refused(choose_id, 512, ()), 2),
        (refused(choose_id, None, range(512)), 3),
        (refused(check_name, "Web", {}), 2),
        (refused(check_name, "web", {"web": 1}), 3),
        (refused(choose_cpus, (4,), 0, pool=(), owners={4: 1}), 3),
        (refused(choose_cpus, (4,), 0, pool=(), owners={}), 2),
        (refused(choose_cpus, (), 2, pool=(5,), owners={}), 3),
        (refused(choose_cpus, (), 2, pool=(), owners={}), 3),
    ]
    found[Verb.LOAD].append((refused(check_image, types.Image(handlers=["nothing"]), cpus=1), 2))
    found[Verb.EXEC] += [
        (StuckError("ETIMEDOUT: CPU 0 is not responding", advice="look for faults"), 3),
        (NoCpuError("ENODEV: the host instance is not active", advice="start it"), 3),
    ]
    return found


@pytest.mark.parametrize(("verb", "errors"), refusals().items())
def test_a_refusal_is_its_errno_one_line_and_what_to_do(
    run, peer, told, two_instances, *, verb, errors
):
    words, method = COMMANDS[verb]
    assert errors
    for error, code in errors:
        peer.will("GetCluster", two_instances)
        peer.will(method, error)
        result = run(*words, "--address", peer.address)
        assert told(result) == (f"mkrpc: {error}", f"  → {error.advice}")
        assert str(error).startswith(f"{error.errno_name}: ")
        assert (result.stdout, result.exit_code) == ("", code)


def test_who_is_not_there_is_enoent_and_who_is_there_is_told(run, peer, told, two_instances):
    peer.will("GetCluster", two_instances)
    for verb, (words, _) in COMMANDS.items():
        if words[0] == "create":
            continue
        for name in ("nobody", "77"):
            result = run(words[0], name, *words[2:], "--address", peer.address)
            what, advice = told(result)
            assert what.startswith(f"mkrpc: ENOENT: no instance {name} "), verb
            assert advice == "  → there are: 1 (web), 2 (db)"
            assert result.exit_code == 3
            assert peer.requests.pop() == pb.GetClusterRequest(paged=True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["create", "web", "--cpus", "1", "--cpu-count", "1"], "exclude each other"),
        (["create", "web", "--cpus", "1-"], "'1-' is no APIC id"),
        (["create", "web", "--cpus", "x"], "'x' is no APIC id"),
        (["create", "web", "--cpus", "3-1"], "3-1 is out of range"),
        (["create", "web", "--cpus", "-1"], "'-1' is no APIC id"),
        (["create", "web", "--cpus", "0-600"], "0-600 is out of range"),
        (["create", "web", "--cpus", "0x1ffffffff"], "out of range"),
        (["create", "web", "--id", "0"], "0 is out of range: 1 to 511"),
        (["create", "web", "--id", "512"], "512 is out of range: 1 to 511"),
        (["create", "web", "--cpu-count", "0"], "0 is out of range: 1 to 512"),
        (["create", "web", "db"], "unexpected extra argument"),
        (["update", "web"], "Missing option '--cpus'"),
        (["update"], "Missing argument 'INSTANCE'"),
        (["load", "web", "--program", "a:b", "--program", "0=c:d"], "two programs on one CPU"),
        (["load", "web", "--program", "x=c:d"], "write it as CPU=package.module:name"),
        (["exec", "web", "--cpu", "x"], "'x' is not a number"),
        (["kill"], "Missing argument 'INSTANCE'"),
    ],
)
def test_what_no_machine_could_serve_is_refused_before_one_is_asked(run, told, words, said):
    result = run(*words)
    what, advice = told(result)
    assert said in what
    assert advice.endswith(f" {words[0]} --help")
    assert result.exit_code == 2


@pytest.mark.parametrize("verb", COMMANDS)
def test_without_a_cluster_each_says_how_to_start_one(run, told, verb):
    result = run(*COMMANDS[verb][0])
    what, advice = told(result)
    assert "default" in what
    assert "mkrpc up" in advice
    assert result.exit_code == 3


def test_a_signal_has_its_name(run, peer, two_instances):
    peer.will("GetCluster", two_instances)
    for code, how in (
        (-15, "was ended by SIGTERM"),
        (3, "ended with exit code 3"),
        (-70, "signal 70"),
    ):
        peer.will("KillInstance", pb.KillInstanceResponse(exit_code=code))
        assert how in run("kill", "web", "--address", peer.address).stdout
