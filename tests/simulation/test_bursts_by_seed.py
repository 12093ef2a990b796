"""Clients that inject different words in one call, under every fault: the laws hold."""

import random
from array import array

import pytest

from mkrpc.interconnect.apic_bus import ApicBus
from mkrpc.interconnect.injected_words import MAX_REQUEST_WORDS
from mkrpc.interconnect.leg_block import LegBlock
from mkrpc.simulation.run import run
from mkrpc.x86.icr import fixed

FEWEST = 4
"""Writes of a call from which on it is made of different words."""

VECTORS = (0x33, 0x41, 0xEA)
APIC_IDS = range(6)


@pytest.fixture
def legs_in_blocks(monkeypatch):
    """Calls for many equal words ask for words that differ; the sizes of the blocks they became."""
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


def violations(seeds):
    return [result.violation for seed in seeds if (result := run(seed, random.Random)).violation]


def test_bursts_keep_every_law(legs_in_blocks):
    assert violations(range(1, 13)) == []
    assert sum(legs_in_blocks) > 100


@pytest.mark.full
def test_more_bursts_keep_every_law(legs_in_blocks):
    assert violations(range(100, 500)) == []
