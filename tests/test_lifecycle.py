"""The table of an instance's states: every state with every verb, and the page that shows it."""

import subprocess
import sys
from pathlib import Path

import pytest

from mkrpc.errors import (
    AlreadyExistsError,
    ClusterStateError,
    InstanceBusyError,
    MkrpcError,
    NoCpuError,
    NotActiveError,
    NotFoundError,
    NothingLoadedError,
    PermissionDeniedError,
    error_for_reason,
)
from mkrpc.lifecycle import (
    DIED,
    HOST_ID,
    HOST_REFUSES,
    TABLE,
    Ending,
    InstanceState,
    Refusal,
    Verb,
    describe_end,
    next_state,
    state_of,
)

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "lifecycle.md"
SCRIPT = ROOT / "tests" / "document_lifecycle.py"

S = InstanceState
GONE = "gone"

# One row a verb: none, empty, ready, loaded, active, failed. "Destroying active or loaded = -EBUSY"
# and the states are the series'; exec of an online CPU is -EBUSY, without an image -EINVAL.
EXPECTED = {
    Verb.CREATE: (S.READY, "EEXIST", "EEXIST", "EEXIST", "EEXIST", "EEXIST"),
    Verb.CREATE_WITHOUT_CPUS: (S.EMPTY, "EEXIST", "EEXIST", "EEXIST", "EEXIST", "EEXIST"),
    Verb.UPDATE: ("ENOENT", S.READY, S.READY, "EBUSY", S.ACTIVE, "EBUSY"),
    Verb.UPDATE_TO_NO_CPUS: ("ENOENT", S.EMPTY, S.EMPTY, "EBUSY", "EBUSY", "EBUSY"),
    Verb.LOAD: ("ENOENT", "ENODEV", S.LOADED, S.LOADED, "EBUSY", S.LOADED),
    Verb.EXEC: ("ENOENT", "ENODEV", "EINVAL", S.ACTIVE, "EBUSY", S.ACTIVE),
    Verb.KILL: ("ENOENT", "EINVAL", "EINVAL", "EINVAL", S.LOADED, "EINVAL"),
    Verb.UNLOAD: ("ENOENT", "EINVAL", "EINVAL", S.READY, "EBUSY", S.READY),
    Verb.DELETE: ("ENOENT", GONE, GONE, "EBUSY", "EBUSY", GONE),
}
STATES = (None, *InstanceState)
CASES = [
    (state, verb, EXPECTED[verb][column]) for verb in Verb for column, state in enumerate(STATES)
]


@pytest.mark.parametrize(("state", "verb", "expected"), CASES)
def test_every_state_with_every_verb(state, verb, expected):
    if isinstance(expected, InstanceState) or expected == GONE:
        after = next_state(state, verb, instance_id=3, name="web")
        assert after == (None if expected == GONE else expected)
        return
    with pytest.raises(MkrpcError) as caught:
        next_state(state, verb, instance_id=3, name="web")
    error = caught.value
    assert error.errno_name == expected
    assert str(error).startswith(f"{expected}: instance 3 (web) ")
    assert "\n" not in str(error)
    assert error.advice
    assert "NAME" not in error.advice or state in (None, S.EMPTY)


def test_who_is_where_he_is_wanted_need_do_nothing():
    for verb, states in {
        Verb.UNLOAD: (S.EMPTY, S.READY),
        Verb.KILL: (S.EMPTY, S.READY, S.LOADED),
    }.items():
        for state in states:
            with pytest.raises(MkrpcError) as caught:
                next_state(state, verb, instance_id=3, name="web")
            assert caught.value.advice.startswith("nothing need be done: "), (verb, state)


def test_the_table_has_no_holes():
    assert set(TABLE) == set(STATES)
    assert all(set(verbs) == set(Verb) for verbs in TABLE.values())
    assert set(DIED) == {S.ACTIVE, S.LOADED}


@pytest.mark.parametrize("state", InstanceState)
@pytest.mark.parametrize("verb", Verb)
def test_the_host_suffers_no_unload_and_no_delete(state, verb):
    refused = verb in HOST_REFUSES
    assert refused == (verb in (Verb.UPDATE, Verb.UPDATE_TO_NO_CPUS, Verb.UNLOAD, Verb.DELETE))
    if refused:
        with pytest.raises(PermissionDeniedError, match=r"EPERM: instance 0 .* is the host"):
            next_state(state, verb, instance_id=HOST_ID, name="host")


FACTS = {
    S.EMPTY: {"active": False, "ending": Ending.NEVER_RAN, "loaded": False, "cpus": 0},
    S.READY: {"active": False, "ending": Ending.NEVER_RAN, "loaded": False, "cpus": 2},
    S.LOADED: {"active": False, "ending": Ending.ASKED, "loaded": True, "cpus": 2},
    S.ACTIVE: {"active": True, "ending": Ending.NEVER_RAN, "loaded": True, "cpus": 2},
    S.FAILED: {"active": False, "ending": Ending.DIED, "loaded": True, "cpus": 2},
}
EFFECTS = {
    Verb.UPDATE: {"cpus": 2},
    Verb.UPDATE_TO_NO_CPUS: {"cpus": 0},
    Verb.LOAD: {"loaded": True, "ending": Ending.ASKED},
    Verb.EXEC: {"active": True},
    Verb.KILL: {"active": False, "ending": Ending.ASKED},
    Verb.UNLOAD: {"loaded": False, "ending": Ending.NEVER_RAN},
}


@pytest.mark.parametrize("state", InstanceState)
def test_the_state_follows_from_what_is_the_case(state):
    assert state_of(**FACTS[state]) is state
    for verb, effect in EFFECTS.items():
        result = TABLE[state][verb]
        if not isinstance(result, Refusal):
            assert state_of(**FACTS[state] | effect) is result, verb


def test_what_dies_has_failed():
    for state, after in DIED.items():
        assert state_of(**FACTS[state] | {"active": False, "ending": Ending.DIED}) is after


@pytest.mark.parametrize(
    "kind",
    [InstanceBusyError, NothingLoadedError, NoCpuError, NotActiveError],
)
def test_refusals_by_state_are_told_apart_across_the_wire(kind):
    assert error_for_reason(kind.reason) is kind
    assert issubclass(kind, ClusterStateError)
    assert kind.certainly_did_not_happen


def test_the_errnos_of_the_others():
    assert AlreadyExistsError.errno_name == "EEXIST"
    assert NotFoundError.errno_name == "ENOENT"


def test_the_page_is_that_of_the_table(tmp_path: Path):
    output = tmp_path / "lifecycle.md"
    subprocess.run([sys.executable, str(SCRIPT), str(output)], check=True)
    assert output.read_text() == PAGE.read_text(), f"run {SCRIPT.relative_to(ROOT)}"


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (0, "exit code 0"),
        (5, "exit code 5"),
        (-9, "ended by SIGKILL"),
        (-250, "ended by signal 250"),
    ],
)
def test_an_end_in_words(code, words):
    assert describe_end(code) == words
