"""The life of an instance: its states, what can be asked in each, and what comes of it.

One table, :data:`TABLE`; interconnect, client and documentation read it and nobody has another.
Words and results follow the multikernel series and its tool kerf: a result is a new state or an
errno. Where neither says, as for ``kill`` of what does not run, -EINVAL stands.
"""

import signal
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from mkrpc.errors import (
    AlreadyExistsError,
    InstanceBusyError,
    MkrpcError,
    NoCpuError,
    NotActiveError,
    NotFoundError,
    NothingLoadedError,
    PermissionDeniedError,
)

__all__ = [
    "DIED",
    "HOST_ID",
    "HOST_REFUSES",
    "TABLE",
    "Ending",
    "InstanceState",
    "Refusal",
    "Verb",
    "advice_for",
    "cpus_to_start",
    "describe_end",
    "next_state",
    "state_of",
]

HOST_ID = 0
"""The host instance. It creates and starts the others; firmware starts it."""


class InstanceState(StrEnum):
    """The life of an instance, in kerf's words; see ``mkrpc.v1.InstanceState``."""

    EMPTY = "empty"
    READY = "ready"
    LOADED = "loaded"
    ACTIVE = "active"
    FAILED = "failed"


class Verb(StrEnum):
    """What can be asked for, in kerf's words."""

    CREATE = "create"
    CREATE_WITHOUT_CPUS = "create (no CPUs)"
    UPDATE = "update"
    UPDATE_TO_NO_CPUS = "update (no CPUs)"
    LOAD = "load"
    EXEC = "exec"
    KILL = "kill"
    UNLOAD = "unload"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class Refusal:
    """A verb that does nothing in a state. ``why`` completes "instance 2 (web) ...". ``advice``:
    where it depends on what was asked for; else it does on the state alone."""

    error: type[MkrpcError]
    why: str
    advice: str = ""

    @property
    def errno(self) -> str:
        """Its name, such as EBUSY."""
        return self.error.errno_name


_S, _V = InstanceState, Verb

Result = InstanceState | Refusal | None
"""A new state, None for "it is gone", or a refusal."""

_EXISTS = Refusal(AlreadyExistsError, "exists")
_UNKNOWN = Refusal(NotFoundError, "does not exist")
_NO_CPUS = Refusal(NoCpuError, "has no CPUs")
_NOTHING = Refusal(NothingLoadedError, "has nothing loaded")
_NOTHING_TO_UNLOAD = Refusal(
    NothingLoadedError, "has nothing loaded", "nothing need be done: nothing is loaded"
)
_NOT_RUNNING = Refusal(NotActiveError, "does not run")
_LOADED = Refusal(InstanceBusyError, "has a kernel loaded")
_RUNS = Refusal(InstanceBusyError, "is active: its CPUs are currently running its kernel")
_CRASHED = Refusal(InstanceBusyError, "has failed, with its kernel still loaded")

_NOTHING_YET: Mapping[Verb, Result] = {
    verb: _UNKNOWN for verb in Verb if verb not in (_V.CREATE, _V.CREATE_WITHOUT_CPUS)
}
_CREATED: Mapping[Verb, Result] = {_V.CREATE: _EXISTS, _V.CREATE_WITHOUT_CPUS: _EXISTS}
_BARE: Mapping[Verb, Result] = {
    _V.UPDATE: _S.READY,
    _V.UPDATE_TO_NO_CPUS: _S.EMPTY,
    _V.KILL: _NOT_RUNNING,
    _V.UNLOAD: _NOTHING_TO_UNLOAD,
    _V.DELETE: None,
}

TABLE: Mapping[InstanceState | None, Mapping[Verb, Result]] = {
    None: {**_NOTHING_YET, _V.CREATE: _S.READY, _V.CREATE_WITHOUT_CPUS: _S.EMPTY},
    _S.EMPTY: {**_CREATED, **_BARE, _V.LOAD: _NO_CPUS, _V.EXEC: _NO_CPUS},
    _S.READY: {**_CREATED, **_BARE, _V.LOAD: _S.LOADED, _V.EXEC: _NOTHING},
    _S.LOADED: {
        **_CREATED,
        _V.UPDATE: _LOADED,
        _V.UPDATE_TO_NO_CPUS: _LOADED,
        _V.LOAD: _S.LOADED,
        _V.EXEC: _S.ACTIVE,
        _V.KILL: _NOT_RUNNING,
        _V.UNLOAD: _S.READY,
        _V.DELETE: _LOADED,
    },
    _S.ACTIVE: {
        **_CREATED,
        _V.UPDATE: _S.ACTIVE,
        _V.UPDATE_TO_NO_CPUS: _RUNS,
        _V.LOAD: _RUNS,
        _V.EXEC: _RUNS,
        _V.KILL: _S.LOADED,
        _V.UNLOAD: _RUNS,
        _V.DELETE: _RUNS,
    },
    _S.FAILED: {
        **_CREATED,
        _V.UPDATE: _CRASHED,
        _V.UPDATE_TO_NO_CPUS: _CRASHED,
        _V.LOAD: _S.LOADED,
        _V.EXEC: _S.ACTIVE,
        _V.KILL: _NOT_RUNNING,
        _V.UNLOAD: _S.READY,
        _V.DELETE: None,
    },
}
"""By state (None: there is no such instance) and verb."""

DIED: Mapping[InstanceState, InstanceState] = {_S.ACTIVE: _S.FAILED, _S.LOADED: _S.FAILED}
"""What nobody asks for: it ends by itself or is killed from outside, or its start-up does not come
to an end. In other states nothing runs that could."""

HOST_REFUSES: Mapping[Verb, str] = {
    _V.UPDATE: "its CPUs are what the machine booted with",
    _V.UPDATE_TO_NO_CPUS: "its CPUs are what the machine booted with",
    _V.UNLOAD: "its kernel came from firmware",
    _V.DELETE: "it is what the machine booted",
}
"""Of the host instance, whatever its state: -EPERM."""

_WAY_OUT: Mapping[type[MkrpcError], Mapping[InstanceState | None, str]] = {
    AlreadyExistsError: dict.fromkeys(_S, "choose another id and name, or delete it first"),
    NotFoundError: {None: "'mkrpc show' lists them; 'mkrpc create' makes one"},
    NoCpuError: {_S.EMPTY: "give it some: mkrpc update NAME --cpus APIC_IDS"},
    NothingLoadedError: dict.fromkeys(_S, "load a kernel first: mkrpc load NAME"),
    NotActiveError: {
        _S.EMPTY: "nothing need be done: it has no CPUs",
        _S.READY: "nothing need be done: nothing is loaded",
        _S.LOADED: "nothing need be done: its kernel is loaded and does not run",
        _S.FAILED: "it has ended: start it again, mkrpc exec NAME, or clear it, mkrpc unload NAME",
    },
    InstanceBusyError: {
        _S.LOADED: "unload it first: mkrpc unload NAME",
        _S.ACTIVE: "end it first: mkrpc kill NAME",
        _S.FAILED: "unload it first: mkrpc unload NAME",
    },
}


def advice_for(refusal: Refusal, state: InstanceState | None, name: str = "NAME") -> str:
    """What to do about a refusal."""
    return (refusal.advice or _WAY_OUT[refusal.error][state]).replace("NAME", name)


def next_state(
    state: InstanceState | None, verb: Verb, *, instance_id: int | None, name: str
) -> InstanceState | None:
    """The state after a verb, None if the instance is then gone.

    Raises what the table says in its place, and PermissionDeniedError (EPERM) for what the host
    instance does not suffer. ``instance_id`` None: it is known by name alone.
    """
    who = f"instance {name!r}" if instance_id is None else f"instance {instance_id} ({name})"
    if instance_id == HOST_ID and state is not None and verb in HOST_REFUSES:
        raise PermissionDeniedError(
            f"EPERM: {who} is the host: {HOST_REFUSES[verb]}",
            advice="name another instance: 'mkrpc show' lists them",
        )
    result = TABLE[state][verb]
    if isinstance(result, Refusal):
        raise result.error(
            f"{result.errno}: {who} {result.why}", advice=advice_for(result, state, name)
        )
    return result


class Ending(StrEnum):
    """How the last process of an instance ended, as far as the state goes."""

    NEVER_RAN = "never ran"
    ASKED = "asked"
    """By a verb, or it said goodbye by itself, which is as good."""
    DIED = "died"


def state_of(*, active: bool, ending: Ending, loaded: bool, cpus: int) -> InstanceState:
    """The state by what is the case. ``active``: its boot CPU has come up and it lives."""
    if active:
        return InstanceState.ACTIVE
    if ending is Ending.DIED:
        return InstanceState.FAILED
    if loaded:
        return InstanceState.LOADED
    return InstanceState.READY if cpus else InstanceState.EMPTY


def cpus_to_start(cmdline: str, cpus: int) -> int:
    """How many CPUs come up: all, unless ``maxcpus=N`` or ``nosmp`` says otherwise; the boot CPU
    does in any case."""
    wanted = cpus
    for parameter in cmdline.split():
        key, _, value = parameter.partition("=")
        if key == "nosmp":
            wanted = 1
        elif key == "maxcpus" and value.isdecimal():
            wanted = int(value)
    return min(cpus, max(1, wanted))


def describe_end(exit_code: int) -> str:
    """An exit code in words: minus a signal's number if a signal ended the process."""
    if exit_code >= 0:
        return f"exit code {exit_code}"
    known = {int(number): number.name for number in signal.Signals}
    return f"ended by {known.get(-exit_code, f'signal {-exit_code}')}"
