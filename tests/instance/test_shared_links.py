"""Rings in memory that two processes share: files, doors, re-spawns, and what nobody may see."""

import os
import signal
import stat
import subprocess
import sys
from errno import ENOSPC

import pytest

from mkrpc.instance import link_files
from mkrpc.instance.link_files import LinkFiles
from mkrpc.instance.link_windows import MAX_WINDOWS, MemoryLinks, link_image
from mkrpc.instance.multikernel.channels.link_rings import LINK_SLOTS, link_bytes
from mkrpc.link.messages import MAX_MESSAGE_BYTES, MESSAGE_WINDOW

from . import shared_links
from .shared_links import End, payload

ONE, TWO, THREE = (bytes([n]) * 16 for n in (1, 2, 3))


@pytest.fixture(params=["memory", "files"])
def store(request, tmp_path):
    """``store()``: what one end has; all reach the same links."""
    made = []
    if request.param == "memory":
        links = MemoryLinks()
        yield lambda: links
        return

    def make():
        made.append(LinkFiles(tmp_path / "links"))
        return made[-1]

    yield make
    for each in made:
        each.close()


def ends(store, *, first=ONE, second=TWO):
    made = End(0, first, store()), End(1, second, store())
    for end in made:
        end.windows.open()
    return made


def everything(end) -> list[bytes]:
    found = []
    while (delivery := end.receive()) is not None:
        found.append(delivery.data)
    return found


def test_messages_arrive_in_order_and_from_whom(store) -> None:
    parent, child = ends(store)
    for number in range(5):
        assert child.send(0, payload(number)) == 0
    first = parent.receive()
    assert (first.sender, first.ipi_type, first.data) == (1, 0x4000, payload(0))
    assert everything(parent) == [payload(number) for number in range(1, 5)]
    assert parent.send(1, b"back") == 0
    assert everything(child) == [b"back"]
    assert child.channel.counts[0].sent == 5
    assert not child.events, "nothing went through the interconnect"


def test_a_full_ring_refuses_by_name(store) -> None:
    parent, child = ends(store)
    sent = [child.send(0, b"x") for _ in range(LINK_SLOTS + 1)]
    assert sent == [0] * LINK_SLOTS + [-ENOSPC]
    assert len(everything(parent)) == LINK_SLOTS
    assert child.send(0, b"x") == 0


def test_after_a_respawn_nothing_old_is_read(store) -> None:
    parent, child = ends(store)
    assert parent.send(1, b"for the first life") == 0
    assert child.send(0, b"of the first life") == 0
    again = End(1, THREE, store())
    again.windows.open()
    assert everything(again) == []
    assert everything(parent) == []
    assert parent.channel.counts[1].left == 1
    assert parent.send(1, b"for the second") == 0
    assert again.send(0, b"of the second") == 0
    assert everything(again) == [b"for the second"]
    assert everything(parent) == [b"of the second"]


def test_a_zombie_writes_where_nobody_reads(store) -> None:
    parent, child = ends(store)
    assert child.send(0, b"before") == 0
    stopped = child.walk(child.channel.send(0, 0x4000, b"too late" * 32))
    for _ in range(9):
        next(stopped)
    again = End(1, THREE, store())
    again.windows.open()
    assert again.send(0, b"good" * 64) == 0
    for _ in stopped:
        pass
    assert child.send(0, b"and more") == 0, "it does not know that it is dead"
    assert everything(parent) == [b"good" * 64]
    assert everything(again) == []


@pytest.mark.parametrize("at", range(48))
def test_a_respawn_at_any_instruction_of_a_send(store, at) -> None:
    parent, _child = ends(store)
    sending = parent.walk(parent.channel.send(1, 0x4000, b"12345678" * 20))
    for _ in range(at):
        next(sending, None)
    again = End(1, THREE, store())
    again.windows.open()
    for _ in sending:
        pass
    assert parent.send(1, b"next") == 0
    assert everything(again) in ([b"next"], [b"12345678" * 20, b"next"])


def test_the_dead_without_a_successor_are_reached_by_the_interconnect_when_full(tmp_path) -> None:
    parent_files, child_files = (LinkFiles(tmp_path / "links") for _ in range(2))
    parent, child = End(0, ONE, parent_files), End(1, TWO, child_files)
    parent.windows.open()
    child.windows.open()
    for _ in range(LINK_SLOTS):
        assert parent.send(1, b"x") == 0
    assert parent.send(1, b"x") == -ENOSPC
    child_files.close()
    assert parent.send(1, b"y") == 0
    assert [message.data for message in parent.events] == [b"y"]
    parent_files.close()


@pytest.mark.parametrize("why", ["not attached", "not shared", "no directory", "other machine"])
def test_without_memory_messages_go_through_the_interconnect(tmp_path, monkeypatch, why) -> None:
    directory = tmp_path / "links"
    if why == "no directory":
        directory.write_text("in the way")
    if why == "other machine":
        monkeypatch.setattr(link_files.platform, "machine", lambda: "aarch64")
    files = LinkFiles(directory)
    parent = End(0, ONE, files, links="interconnect" if why == "not shared" else "memory")
    other = LinkFiles(directory)
    child = End(1, TWO, other)
    if why != "not attached":
        parent.windows.open()
        child.windows.open()
    sent = [parent.send(1, b"x") for _ in range(MESSAGE_WINDOW + 1)]
    assert sent == [0] * MESSAGE_WINDOW + [-ENOSPC]
    assert [(m.target, m.seq) for m in parent.events] == [(1, n + 1) for n in range(MESSAGE_WINDOW)]
    assert parent.channel.counts[1].posted == MESSAGE_WINDOW
    files.close()
    other.close()


def test_a_full_file_system_refuses_before_it_is_mapped(tmp_path, monkeypatch) -> None:
    files = LinkFiles(tmp_path / "links")
    parent = End(0, ONE, files)
    parent.windows.open()
    other = LinkFiles(tmp_path / "links")
    End(1, TWO, other).windows.open()

    def full(*_arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(link_files.os, "posix_fallocate", full)
    assert parent.send(1, b"x") == 0
    assert len(parent.events) == 1
    left = [path.name for path in (tmp_path / "links").rglob("*") if path.is_file()]
    assert sorted(left) == ["0", "1"], "and nothing half made is left"
    files.close()
    other.close()


def test_files_are_private_and_go_with_their_incarnation(tmp_path) -> None:
    files = [LinkFiles(tmp_path / "links") for _ in range(3)]
    parent, child = End(0, ONE, files[0]), End(1, TWO, files[1])
    parent.windows.open()
    child.windows.open()
    assert parent.send(1, b"x") == 0
    found = [path for path in (tmp_path / "links").rglob("*") if path.is_file()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in found} == {0o600}
    assert stat.S_IMODE((tmp_path / "links").stat().st_mode) & 0o077 == 0
    assert len(found) == 3
    End(1, THREE, files[2]).windows.open()
    left = [path.name for path in (tmp_path / "links").rglob("*") if path.is_file()]
    assert sorted(left) == ["0", "1"]
    for each in files:
        each.close()


def test_links_of_one_instance_are_limited(store) -> None:
    links = store()
    hub = End(0, ONE, links)
    hub.windows.open()
    kept = []
    for number in range(1, MAX_WINDOWS + 2):
        kept.append(store())
        End(number, bytes([number]) * 16, kept[-1]).windows.open()
        assert hub.send(number, b"x") == 0
    assert [message.target for message in hub.events] == [MAX_WINDOWS + 1]


def test_the_dead_give_up_their_windows_once_they_are_read() -> None:
    alive = set(range(MAX_WINDOWS + 2))
    links = MemoryLinks(alive.__contains__)
    hub = End(0, bytes(16), links)
    hub.windows.open()
    others = {n: End(n, bytes([n]) * 16, links) for n in range(1, MAX_WINDOWS + 2)}
    for number, other in others.items():
        other.windows.open()
        assert hub.send(number, b"x") == 0
    assert hub.events.pop().target == MAX_WINDOWS + 1, "there was no room"
    hub.post.sent.clear()
    assert others[1].send(0, b"last words") == 0
    alive -= {1, 2}
    assert hub.send(MAX_WINDOWS + 1, b"x") == 0
    assert not hub.events, "it went over memory"
    assert everything(hub) == [b"last words"]


def test_epochs_differ_with_any_incarnation() -> None:
    size = link_bytes(MAX_MESSAGE_BYTES)
    images = {
        link_image((0, one), (1, other), size=size)[8:16]
        for one, other in [(ONE, TWO), (ONE, THREE), (TWO, ONE), (THREE, TWO)]
    }
    assert len(images) == 4
    assert bytes(8) not in images


def start(directory, own: int, incarnation: bytes, first: int, count: int):
    arguments = [directory, incarnation.hex(), own, first, count]
    process = subprocess.Popen(
        [sys.executable, "-m", shared_links.__name__, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "open\n"
    return process


def test_two_processes_and_one_that_is_killed_in_between(tmp_path) -> None:
    files = LinkFiles(tmp_path)
    parent = End(0, ONE, files)
    parent.windows.open()
    process = start(tmp_path, 1, TWO, 0, 10_000)
    received = []
    while len(received) < 2000:
        received += everything(parent)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    received += everything(parent)
    assert received == [payload(number) for number in range(len(received))]
    second = start(tmp_path, 1, THREE, 20_000, 3000)
    after = []
    while len(after) < 3000:
        after += everything(parent)
    second.communicate(timeout=60)
    assert after == [payload(number) for number in range(20_000, 23_000)]
    assert parent.channel.counts[1].received == len(received) + 3000
    files.close()
    assert len(os.listdir(next(tmp_path.iterdir()))) == 3
