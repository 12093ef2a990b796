"""What the chains client -> broker -> instance have in common: the books, and their processes."""

import multiprocessing
from array import array
from collections import Counter

from mkrpc.benchmarks.serving import ACKNOWLEDGEMENT

__all__ = ["Books", "fork"]


class Books:
    """What a broker counts: words written for each destination and vector, and what became of them.

    One entry a message where all its words are alike, as mkrpc's ledger has one for a run of legs.
    """

    def __init__(self):
        self.written = Counter()
        self.handled = self.coalesced = 0

    def write(self, message):
        for word, count in Counter(array("Q", message)).items():
            self.written[word >> 32, word & 0xFF] += count

    def settle(self, acknowledgement):
        _, handled, coalesced = ACKNOWLEDGEMENT.unpack(acknowledgement)
        self.handled += handled
        self.coalesced += coalesced

    @property
    def balanced(self):
        return self.written.total() == self.handled + self.coalesced


def fork(role, *arguments):
    """A process that runs ``role``, with all that this one has open; it ends with this one."""
    process = multiprocessing.get_context("fork").Process(target=role, args=arguments, daemon=True)
    process.start()
    return process
