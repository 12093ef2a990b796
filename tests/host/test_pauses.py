"""A process is stopped for a time or until it is told to go on, and only that stop is ended."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mkrpc.host.child import Child
from mkrpc.host.pauses import Pauses

WAITS = "import sys; sys.stdin.read()"


@pytest.fixture
def child(tmp_path: Path) -> Iterator[Child]:
    with subprocess.Popen([sys.executable, "-c", WAITS], stdin=subprocess.PIPE) as process:
        yield Child.of("mk1", process, tmp_path / "mk1.log")
        process.kill()


def is_stopped(child: Child) -> bool:
    return Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


async def until_it_is(child: Child, *, stopped: bool) -> None:
    """Signals take effect a moment later; the test times out if they do not."""
    while is_stopped(child) is not stopped:  # noqa: ASYNC110 (no event tells it)
        await asyncio.sleep(0)


async def test_a_pause_ends_by_its_time_and_is_reported(child: Child) -> None:
    reports: list[tuple[int, int, bool]] = []
    pauses = Pauses(
        asyncio.get_running_loop(), lambda i, order, c: reports.append((i, order, c.paused))
    )
    pauses.stop(1, child, for_s=0.05, order=7)
    await until_it_is(child, stopped=True)
    await until_it_is(child, stopped=False)
    assert reports == [(1, 7, True), (1, 0, False)]
    os.close(child.pidfd)


async def test_the_time_of_a_pause_that_was_ended_is_not_that_of_the_next(child: Child) -> None:
    reports: list[int] = []
    pauses = Pauses(asyncio.get_running_loop(), lambda _i, order, _c: reports.append(order))
    pauses.stop(1, child, for_s=0.05, order=1)
    over = asyncio.Event()
    asyncio.get_running_loop().call_later(0.06, over.set)
    pauses.go_on(1, child, 2)
    pauses.stop(1, child, for_s=0, order=3)
    assert not pauses.pending(1)
    await over.wait()
    await until_it_is(child, stopped=True)
    pauses.go_on(1, child, 4)
    await until_it_is(child, stopped=False)
    assert reports == [1, 2, 3, 4]
    os.close(child.pidfd)


async def test_what_has_ended_is_not_woken(child: Child) -> None:
    pauses = Pauses(asyncio.get_running_loop(), lambda _i, _order, _c: None)
    pauses.stop(1, child, for_s=60, order=1)
    assert pauses.pending(1)
    pauses.ended(1)
    assert not pauses.pending(1)
    os.close(child.pidfd)
