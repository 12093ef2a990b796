"""Recorded machines that live through anything at random replay, buses and kernels alike."""

import random
from array import array
from contextlib import suppress

import pytest
import recorded_programs

from mkrpc.errors import MkrpcError
from mkrpc.fault import Fault, FaultKind
from mkrpc.interconnect.apic_bus import ApicBus
from mkrpc.link.frames import CommandKind
from mkrpc.replay.run import replay
from mkrpc.x86.icr import DeliveryMode, Icr, encode

SEEDS = range(12)
ACTIONS = 60
ASKED = {
    CommandKind.READ_CPU: "",
    CommandKind.SET_CPU: "if=0 tpr=0x50",
    CommandKind.READ_ACCOUNT: "",
    CommandKind.READ_LOG: "",
    CommandKind.READ_PROC: "interrupts",
    CommandKind.FENCE: "",
    CommandKind.READ_PENDING: "",
}


class Chance:
    """Does one thing after another to a machine."""

    def __init__(self, machine, seed: int) -> None:
        self.machine = machine
        self.rng = random.Random(seed)
        self.seq = 1
        self.lives = 1
        self.told = []

    def act(self) -> None:
        with suppress(MkrpcError):
            self.rng.choice(
                (
                    self.turn,
                    self.turn,
                    self.inject,
                    self.inject_words,
                    self.inject_singles,
                    self.write,
                    self.ask,
                    self.cut,
                    self.crash,
                    self.drop,
                )
            )()

    def turn(self) -> None:
        self.machine.turn(self.rng.randrange(1, 40))

    def word(self) -> int:
        mode = self.rng.choice((DeliveryMode.FIXED,) * 4 + tuple(DeliveryMode))
        vector = self.rng.choice((0xEA, 0x40, 0x05, 0xFF))
        return encode(Icr(vector=vector, delivery_mode=mode, destination=self.rng.randrange(3)))

    def inject(self) -> None:
        count = self.rng.choice((1, 7, 5000))
        self.seq += count
        self.machine.bus.inject(
            client_id=b"c" * 16,
            first_seq=self.seq - count,
            word=self.word(),
            count=count,
            resolved_below=self.rng.choice((1, self.seq - count)),
            on_done=self.told.append,
        )

    def inject_words(self) -> None:
        count = self.rng.choice((1, 7, 300))
        self.seq += count
        words = [self.word() for _ in range(count)]
        self.machine.bus.inject_words(
            client_id=b"c" * 16,
            first_seq=self.seq - count,
            words=array("Q", words).tobytes(),
            resolved_below=self.rng.choice((1, self.seq - count)),
            each=self.rng.choice((False, True)),
            on_done=self.told.append,
        )

    def inject_singles(self) -> None:
        count = self.rng.choice((2, 7, 60))
        self.seq += count
        made = self.machine.bus.inject_singles(
            client_id=b"c" * 16,
            first_seq=self.seq - count,
            words=array("Q", [self.word() for _ in range(count)]).tobytes(),
            resolved_below=self.rng.choice((1, self.seq - count)),
            each=self.rng.choice((False, True)),
            on_done=self.told.append,
        )
        if self.rng.random() < 0.2:
            self.machine.bus.abandon(made)

    def write(self) -> None:
        self.machine.bus.write_icr(
            apic_id=self.rng.randrange(2),
            word=self.word(),
            count=self.rng.choice((1, 100)),
            on_done=self.told.append,
        )

    def ask(self) -> None:
        kind = self.rng.choice(list(ASKED))
        asked = self.machine.bus.command(
            self.rng.randrange(2), kind=kind, action=ASKED[kind], on_reply=self.told.append
        )
        if self.rng.random() < 0.2:
            self.machine.bus.abandon(asked)

    def cut(self) -> None:
        node = self.rng.choice(self.machine.kernels)
        if node.session is not None and node.session.alive:
            self.machine.cut(node)

    def crash(self) -> None:
        """Its process ends, and another one begins under the same id."""
        number = self.rng.randrange(2)
        if self.rng.random() < 0.7 or self.lives > 5:
            return
        same = [each for each in self.machine.kernels if each.kernel.config.instance_id == number]
        node = same[-1]
        self.machine.bus.detach(node.session, "killed by signal 9")
        self.lives += 1
        self.boot(number)

    def drop(self) -> None:
        share = self.rng.random()
        self.machine.bus.set_fault(
            Fault(kind=FaultKind.DROP, share=share, seed=self.rng.randrange(99), limit=20)
        )

    def boot(self, number: int) -> None:
        self.machine.boot(
            number,
            life=self.lives,
            programs=[(0, recorded_programs.ring_the_other)],
            handlers=[recorded_programs.take_note],
        )


@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_happens_to_a_machine_replays(seed, recorded, tmp_path):
    machine = recorded()
    chance = Chance(machine, seed)
    for number in (0, 1):
        chance.boot(number)
    for _ in range(ACTIONS):
        chance.act()
    machine.settle()
    assert chance.told
    machine.close()
    done = replay(tmp_path)
    assert done.identical, [(life.name, life.verdict, life.difference) for life in done.lives]
    assert all(life.journal.end is not None for life in done.lives)


def test_giving_up_what_was_answered_at_once_gives_up_nothing(recorded, tmp_path, monkeypatch):
    """A request has no number in the journal then, and the bus is given none in its place."""
    machine = recorded()
    Chance(machine, 0).boot(0)
    told = []
    tally = machine.bus.inject(
        client_id=b"c" * 16,
        first_seq=1,
        word=encode(Icr(vector=0xEA, destination=7)),
        count=1,
        resolved_below=1,
        on_done=told.append,
    )
    assert told == [tally]
    machine.bus.abandon(tally)
    machine.close()
    monkeypatch.setattr(ApicBus, "abandon", lambda _bus, request: pytest.fail(f"{request}"))
    assert replay(tmp_path).identical
