"""An APIC id moves between running kernels: what was recorded replays to the same books."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import recorded_programs
from compiled_model import skip_if_compiled

from mkrpc.errors import InstanceBusyError
from mkrpc.instance import commands
from mkrpc.instance.cpu_slots import remove_cpu
from mkrpc.instance.procfs import proc_interrupts
from mkrpc.interconnect.books_text import books_of
from mkrpc.link.frames import CommandKind, Reply
from mkrpc.replay.run import replay
from mkrpc.x86.icr import fixed

GIVER, TAKER = 0, 1
MOVED = 5
"""The APIC id that moves, of the giver's second CPU."""

VECTOR = 0x41


@pytest.fixture
def moving(recorded: Callable[..., Any]) -> Any:
    """Two kernels that ring each other; the first has another CPU."""
    machine = recorded()
    for number, apic_ids in ((GIVER, (0, MOVED)), (TAKER, (1,))):
        machine.boot(
            number,
            apic_ids=apic_ids,
            programs=[(0, recorded_programs.ring_the_other)],
            handlers=[recorded_programs.take_note],
        )
    for _ in range(5):
        machine.turn()
    return machine


def ask(machine: Any, number: int, kind: CommandKind, **what: Any) -> Reply:
    replies: list[Reply] = []
    machine.bus.command(number, kind=kind, on_reply=replies.append, **({"word": MOVED} | what))
    while not replies:
        assert machine.turn()
    return replies[0]


def ring(machine: Any) -> None:
    """The first one's boot CPU rings it; settled before anything else is asked."""
    word = fixed(MOVED, VECTOR)
    machine.bus.write_icr(apic_id=0, word=word, count=3, on_done=lambda _tally: None)
    machine.settle()


def move(machine: Any) -> None:
    """The CPU from one to the other, and back: rung before, between and after."""
    ring(machine)
    for giver, taker in ((GIVER, TAKER), (TAKER, GIVER)):
        assert not ask(machine, giver, CommandKind.REMOVE_CPU).error
        ring(machine)
        machine.cut(machine.kernels[giver])
        number = int(ask(machine, taker, CommandKind.ADD_CPU).text)
        machine.cut(machine.kernels[taker])
        assert not ask(machine, taker, CommandKind.SET_CPU, cpu=number, action="online=1").error
        machine.settle()
        ring(machine)
    assert not ask(machine, TAKER, CommandKind.REMOVE_CPU).error, "it has gone already"
    with pytest.raises(InstanceBusyError):
        ask(machine, TAKER, CommandKind.ADD_CPU)
    machine.settle()


def test_a_cpu_that_moves_there_and_back_replays_to_the_same_books(moving: Any, tmp_path: Path):
    move(moving)
    books = books_of(moving.bus)
    assert moving.bus.cpu_owner(MOVED)[0].instance_id == GIVER
    assert [kernel.kernel.hotplug.vacant for kernel in moving.kernels] == [set(), {1}]
    lines = [line for line in books if f"vector {VECTOR:#04x}: written" in line]
    # Before, in between, at the taker, in between, and back again.
    assert sorted(line.rpartition(": ")[2] for line in lines) == [
        "written 3, delivered 3",
        "written 6, delivered 6",
        "written 6, rejected_no_such_apic 6",
    ]
    moving.close()
    done = replay(tmp_path)
    assert done.identical, [life.verdict for life in done.lives]
    assert [life.name for life in done.lives] == ["interconnect.1", "mk0.1", "mk1.1"]
    bus, *kernels = done.lives
    assert books_of(bus.bus) == books
    assert bus.bus.cpu_owner(MOVED)[0].instance_id == GIVER
    for life, recorded in zip(kernels, moving.kernels, strict=True):
        then, now = recorded.kernel, life.kernel
        assert now.hotplug.vacant == then.hotplug.vacant
        assert proc_interrupts(now) == proc_interrupts(then)
        assert [line.text for line in now.log.since(0)] == [line.text for line in then.log.since(0)]


def test_a_kernel_that_gave_its_cpu_away_otherwise_is_found(
    moving: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """One that keeps what it is asked for, and says that it has gone."""
    move(moving)
    moving.close()
    skip_if_compiled(remove_cpu)
    monkeypatch.setattr(commands, "remove_cpu", lambda _kernel, _apic_id: 1)
    found = {life.name: life for life in replay(tmp_path).lives}
    assert found["mk0.1"].difference is not None
    assert found["mk0.1"].difference.method == "receive"
    assert found["interconnect.1"].identical, "it is given what it was then"
