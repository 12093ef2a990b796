"""Clients that inject different words in one call, or one word in each of many calls at a time,
under every fault: the laws hold."""

import random
from array import array

import pytest
from compiled_model import skip_if_compiled

from mkrpc.interconnect.apic_bus import ApicBus
from mkrpc.interconnect.injected_words import MAX_REQUEST_WORDS
from mkrpc.interconnect.leg_block import LegBlock
from mkrpc.simulation.events import Answered
from mkrpc.simulation.requests import Requests
from mkrpc.simulation.run import run
from mkrpc.x86.icr import fixed

FEWEST = 4
"""Writes of a call from which on it is made of different words."""

VECTORS = (0x33, 0x41, 0xEA)
APIC_IDS = range(6)
MAX_TOGETHER = 64


@pytest.fixture
def legs_in_blocks(monkeypatch):
    """Calls for many equal words ask for words that differ; the sizes of the blocks they became."""
    skip_if_compiled(LegBlock)
    equal, columns = ApicBus.inject, LegBlock.columns
    sizes = []

    def inject(self, *, word, count, **rest):
        if not FEWEST <= count <= MAX_REQUEST_WORDS:
            return equal(self, word=word, count=count, **rest)
        drawn = random.Random(word)
        words = [
            fixed(drawn.choice(APIC_IDS), drawn.choice(VECTORS)) if number % 9 else word
            for number in range(count)
        ]
        return self.inject_words(words=array("Q", words).tobytes(), **rest)

    def counting(self):
        sizes.append(self.count)
        return columns(self)

    monkeypatch.setattr(ApicBus, "inject", inject)
    monkeypatch.setattr(LegBlock, "columns", counting)
    return sizes


class Together:
    """A step that asks for several writes, as so many calls of one word each."""

    def __init__(self, requests, step):
        self.requests, self.step = requests, step
        self.world = requests._world
        self.bus = self.world.hub.bus
        self.client = self.world.clients[step.client]
        self.left = set(range(step.first_seq, step.first_seq + step.count))
        self.made = []

    def make(self):
        """All together the first time, and one by one when they are repeated."""
        step, hub = self.step, self.world.hub
        made_to, told = self.requests._made[step.client, step.first_seq]
        asked = {
            "client_id": self.client,
            "resolved_below": self.requests._resolved_below(step),
        }
        before = vars(self.bus).setdefault("together", set())
        key = step.client, step.first_seq
        if made_to is hub and key not in before:
            before.add(key)
            words = array("Q", [step.word]) * step.count
            self.made = [
                self.bus.inject_singles(
                    first_seq=step.first_seq, words=words.tobytes(), on_done=self.answered, **asked
                )
            ]
            return self
        for seq in sorted(self.left):
            self.made.append(
                self.bus.inject_words(
                    first_seq=seq,
                    words=step.word.to_bytes(8, "little"),
                    on_done=lambda tally, seq=seq: self.tell(seq, tally),
                    again=made_to is not hub,
                    roster=told,
                    **asked,
                )
            )
        return self

    def answered(self, answer):
        for seq in range(answer.first, answer.last + 1):
            self.tell(seq, answer.of.call(seq).tally)

    def tell(self, seq, tally):
        self.left.discard(seq)
        self.requests._told[self.step.client] = self.bus.roster_number
        self.world.show(Answered(self.bus, self.client, seq, 1, tally))
        if not self.left and self.step.number in self.requests.open:
            self.requests._close(self.step)


@pytest.fixture
def singles(monkeypatch):
    """Calls for several writes are so many calls of one word each; how many were made together."""
    plain, abandon, inject_singles = Requests._request, ApicBus.abandon, ApicBus.inject_singles
    sizes = []

    def request(self, step):
        if step.kind in ("inject", "repeat") and step.count <= MAX_TOGETHER:
            return Together(self, step).make()
        return plain(self, step)

    def abandon_each(self, asked):
        for each in asked.made if isinstance(asked, Together) else [asked]:
            abandon(self, each)

    def counting(self, **asked):
        made = inject_singles(self, **asked)
        sizes.append(made.count)
        return made

    monkeypatch.setattr(Requests, "_request", request)
    monkeypatch.setattr(ApicBus, "abandon", abandon_each)
    monkeypatch.setattr(ApicBus, "inject_singles", counting)
    return sizes


def violations(seeds):
    return [result.violation for seed in seeds if (result := run(seed, random.Random)).violation]


def test_bursts_keep_every_law(legs_in_blocks):
    assert violations(range(1, 13)) == []
    assert sum(legs_in_blocks) > 100


def test_single_calls_keep_every_law(singles):
    assert violations(range(1, 13)) == []
    assert sum(singles) > 100


@pytest.mark.full
def test_more_single_calls_keep_every_law(singles):
    assert violations(range(100, 250)) == []


@pytest.mark.full
def test_more_bursts_keep_every_law(legs_in_blocks):
    assert violations(range(100, 500)) == []
