"""The driver keeps who has come and gone before anybody is told (design 3.4)."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mkrpc.errors import MkrpcError, UnavailableError
from mkrpc.frame_codec import decode_down, encode_up
from mkrpc.interconnect.apic_bus import ApicBus
from mkrpc.interconnect.attachments import Pump
from mkrpc.interconnect.book_keeping import BookKeeper, Books, open_books
from mkrpc.interconnect.policy import Policy
from mkrpc.link.frames import DownFrame, Goodbye, Hello, UpFrame, Welcome, Writes
from mkrpc.x86.apic_base import ApicMode
from mkrpc.x86.icr import fixed


class Stream:
    """An instance's stream in memory; what was kept is looked at whenever something is sent."""

    peer = "a test"
    writable = True

    def __init__(self, pump: Pump, kept: list[str]) -> None:
        self.kept_when_sent: list[tuple[type, list[str]]] = []
        self.error: MkrpcError | None = None
        self._kept = kept
        self._handler = pump.open(self)

    def send(self, frame: bytes) -> None:
        self.kept_when_sent.append((type(decode_down(frame)), list(self._kept)))

    def close(self, error: MkrpcError | None = None) -> None:
        self.error = error

    def say(self, message: Hello | UpFrame | Goodbye) -> None:
        self._handler.on_frame(self, encode_up(message))


async def test_an_attach_is_kept_before_its_welcome_is_sent(machine: Any) -> None:
    """Else an interconnect that follows would not wait for it, and would route past it."""
    wire = machine()
    kept: list[str] = []

    def keep() -> None:
        changes = wire.bus.take_changes(rows=False)
        kept.extend(f"+{each.instance_id}" for each in changes.attached)
        kept.extend(f"-{each.instance_id}" for each in changes.ended)

    keep()
    stream = Stream(Pump(wire.bus, keep=keep), kept)
    stream.say(wire.hello(0, (0,)))
    assert stream.kept_when_sent[0] == (Welcome, ["+0"])
    stream.say(Goodbye("done"))
    assert kept == ["+0", "-0"], "an end at once"


async def test_who_may_be_reached_at_another_xapic_id_is_kept_before_anybody_reaches_it_there(
    machine: Any,
) -> None:
    """Else an interconnect that follows would not know, once it is dead, what it could have had."""
    wire = machine()
    kept: list[str] = []

    def keep() -> None:
        changes = wire.bus.take_changes(rows=False)
        kept.extend(f"{each.instance_id} {each.elsewhere}" for each in changes.attached)

    keep()
    stream = Stream(Pump(wire.bus, keep=keep), kept)
    hello = wire.hello(0, (0,))
    here = replace(hello.cpus[0], mode=ApicMode.XAPIC, ldr=0)
    stream.say(replace(hello, cpus=(here,)))
    events = [replace(here, xapic_id=9), Writes(0, 1, [fixed(9, 0x41)])]
    stream.say(UpFrame(frame=1, events=events))
    assert stream.kept_when_sent == [(Welcome, ["0 False"]), (DownFrame, ["0 False", "0 True"])]


async def test_who_cannot_be_kept_is_not_welcomed(machine: Any) -> None:
    def keep() -> None:
        raise UnavailableError("stale books cannot be removed")

    stream = Stream(Pump(machine().bus, keep=keep), [])
    stream.say(machine().hello(0, (0,)))
    assert stream.kept_when_sent == []
    assert isinstance(stream.error, UnavailableError)


@pytest.fixture
def killed_books(machine: Any, tmp_path: Path) -> Books:
    """What an interconnect with one instance has left when it was killed."""
    wire = machine()
    path = tmp_path / "books.sqlite"
    keeper = BookKeeper(wire.bus, open_books(path, epoch=7, lease_us=3_000_000), lambda _: None)
    wire.attach(0, (0,))
    keeper.keep()
    keeper._let_go()
    found = open_books(path, epoch=8, lease_us=3_000_000)
    assert found.file is not None
    found.file.close()
    return found


async def test_clients_wait_until_all_that_are_known_are_back(killed_books: Books) -> None:
    bus = ApicBus(epoch=8, policy=Policy.bare_metal(), takeover=killed_books.takeover)
    pump = Pump(bus)
    pump.begin()
    assert not pump.recovered.is_set()
    assert bus.recovering is not None
    (awaited,) = bus.instances()
    assert bus.is_awaited(awaited.incarnation)
    pump.process_ended(awaited.instance_id, awaited.pid)
    assert pump.recovered.is_set(), "the only one has ended: nobody waits for its lease"
    assert not bus.is_awaited(awaited.incarnation)
