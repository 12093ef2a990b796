"""A reply has what its command asked for, or the instance that gave it is a broken peer."""

from typing import Any

import pytest

from mkrpc.errors import ProtocolError
from mkrpc.link.frames import (
    CommandKind,
    CpuAccount,
    CpuView,
    LogRecord,
    PendingView,
    Reply,
    VectorCount,
)
from mkrpc.x86.apic_base import ApicMode
from mkrpc.x86.pending import CoreState


def ask(wire: Any, instance_id: int, kind: CommandKind, **changes: Any) -> list[Reply]:
    replies: list[Reply] = []
    wire.bus.command(instance_id, kind=kind, on_reply=replies.append, **changes)
    return replies


def view(cpu: int) -> CpuView:
    account = CpuAccount(
        cpu=cpu,
        irr=0,
        isr=0,
        tpr=0,
        ppr=0,
        interrupts_enabled=True,
        activity="idle",
        multikernel=0,
    )
    return CpuView(account, apic_id=cpu, mode=int(ApicMode.X2APIC), registers={})


def record(number: int, level: int = 6) -> LogRecord:
    return LogRecord(number=number, level=level, time_us=0, cpu=0, text="Multikernel interrupt")


def pending(cpu: int, vector: int) -> PendingView:
    core = CoreState(cpu=cpu, irr=0, isr=0, tpr=0, ppr=0, interrupts_enabled=True, activity="idle")
    return PendingView(core, VectorCount(vector, 0, 0, 0, 0, 0))


READ_CPU_1 = (CommandKind.READ_CPU, {"cpu": 1})
SET_CPU_1 = (CommandKind.SET_CPU, {"cpu": 1, "action": "if=0"})
READ_ACCOUNT = CommandKind.READ_ACCOUNT
READ_PENDING_1 = (CommandKind.READ_PENDING, {"cpu": 1, "word": 0x41})
READ_LOG_FROM_5 = (CommandKind.READ_LOG, {"count": 5})

WRONG_REPLIES = {
    "no CPU": (READ_CPU_1, {}),
    "two CPUs": (READ_CPU_1, {"cpus": [view(1), view(1)]}),
    "another CPU": (READ_CPU_1, {"cpus": [view(0)]}),
    "no CPU after setting one": (SET_CPU_1, {}),
    "fewer accounts": ((READ_ACCOUNT, {"count": 2}), {"cpus": [view(0)]}),
    "more accounts": ((READ_ACCOUNT, {"count": 1}), {"cpus": [view(0), view(1)]}),
    "accounts out of order": ((READ_ACCOUNT, {}), {"cpus": [view(1), view(0), view(2)]}),
    "not all accounts": ((READ_ACCOUNT, {"cpu": 1}), {"cpus": [view(1)]}),
    "a CPU that nobody asked for": ((CommandKind.FENCE, {}), {"cpus": [view(0)]}),
    "nothing of a vector": (READ_PENDING_1, {}),
    "another vector": (READ_PENDING_1, {"pending": pending(1, 0x42)}),
    "a vector of another CPU": (READ_PENDING_1, {"pending": pending(0, 0x41)}),
    "a vector that nobody asked for": ((CommandKind.FENCE, {}), {"pending": pending(0, 0)}),
    "a record twice": (READ_LOG_FROM_5, {"records": [record(5), record(5)]}),
    "records backwards": (READ_LOG_FROM_5, {"records": [record(6), record(5)]}),
    "a record before the first": (READ_LOG_FROM_5, {"records": [record(4)]}),
    "a record numbered 0": ((CommandKind.READ_LOG, {}), {"records": [record(0)]}),
    "a level of 8": (READ_LOG_FROM_5, {"records": [record(5, level=8)]}),
    "a log that nobody asked for": ((CommandKind.FENCE, {}), {"records": [record(1)]}),
}


@pytest.mark.parametrize("wrong", WRONG_REPLIES, ids=str)
def test_a_reply_that_is_not_what_was_asked_for_is_the_peers_fault(
    machine: Any, wrong: str
) -> None:
    """Whoever asked gets the error of an instance that goes away, never the reply."""
    (kind, asked), answer = WRONG_REPLIES[wrong]
    wire = machine((0, 1, 2))
    replies = ask(wire, 0, kind, **asked)
    peer = wire.peers[0]
    peer.pull()
    with pytest.raises(ProtocolError):
        peer.send(replies=[Reply(command=peer.commands[0].number, **answer)])
    assert replies == []
    peer.die("protocol error")
    assert [reply.reason for reply in replies] == ["UNAVAILABLE"]


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        (READ_CPU_1, {"cpus": [view(1)]}),
        (SET_CPU_1, {"cpus": [view(1)]}),
        ((READ_ACCOUNT, {"cpu": 1, "count": 1}), {"cpus": [view(1)]}),
        ((READ_ACCOUNT, {"cpu": 1, "count": 9}), {"cpus": [view(1), view(2)]}),
        ((READ_ACCOUNT, {}), {"cpus": [view(0), view(1), view(2)]}),
        (READ_PENDING_1, {"pending": pending(1, 0x41)}),
        (READ_LOG_FROM_5, {"records": []}),
        (READ_LOG_FROM_5, {"records": [record(5, 0), record(9, 7)]}),
        (READ_CPU_1, {"error": "the kernel has failed", "reason": "WRONG_STATE"}),
    ],
)
def test_a_reply_that_is_what_was_asked_for_is_passed_on(
    machine: Any, command: tuple[CommandKind, dict[str, Any]], answer: dict[str, Any]
) -> None:
    kind, asked = command
    wire = machine((0, 1, 2))
    replies = ask(wire, 0, kind, **asked)
    peer = wire.peers[0]
    peer.pull()
    reply = Reply(command=peer.commands[0].number, **answer)
    peer.send(replies=[reply])
    assert replies == [reply]
