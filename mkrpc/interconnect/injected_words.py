"""What a client may inject: its id, its numbers, its ICR words."""

from array import array
from collections.abc import Sequence
from hashlib import blake2b
from typing import Final

from mkrpc.errors import InvalidArgumentError
from mkrpc.interconnect.word_kinds import Kinds, kinds_of
from mkrpc.limits import IDENTITY_BYTES
from mkrpc.link.frames import MAX_FRAME_WORDS
from mkrpc.wire_fields import word_at
from mkrpc.x86.icr import WORD_BITS, Shorthand, decode, reserved_bits_x2apic, shorthand_of

__all__ = [
    "MAX_COUNT",
    "MAX_REQUEST_WORDS",
    "EqualWords",
    "SeveralWords",
    "check_client",
    "check_count",
    "check_word",
    "equal_words",
    "words_of",
]

MAX_COUNT: Final = 1_000_000
"""ICR writes in one call at most."""

MAX_REQUEST_WORDS: Final = MAX_FRAME_WORDS
"""Words in one request of a stream at most."""

_MAX_SEQ: Final = (1 << 62) - MAX_COUNT
"""No number of any call gets to 2^62, as none that a hello counts with."""

_WORD_BYTES: Final = 8


class EqualWords:
    """``count`` times the same word."""

    __slots__ = ("count", "kinds", "word")

    def __init__(self, word: int, count: int) -> None:
        self.kinds: Kinds | None = None
        self.word = word
        self.count = count

    def __str__(self) -> str:
        times = f"{self.count} times " if self.count > 1 else "the word "
        return f"{times}{self.word:#018x}"

    def some(self, begin: int, end: int) -> Sequence[int]:
        """The words from ``begin`` on and before ``end``."""
        return [self.word] * (end - begin)


class SeveralWords:
    """Words in the order of their numbers, as little-endian bytes.

    ``word`` stands for all of them where a call is compared with its repetition: 64 bits that are
    the same for the same words, and for others hardly ever.

    :raises InvalidArgumentError: none or too many, half a word, or one that cannot be injected.
    """

    __slots__ = ("count", "kinds", "word", "words")

    def __init__(self, content: bytes) -> None:
        if not content or len(content) % _WORD_BYTES:
            raise InvalidArgumentError(
                f"{len(content)} bytes are no ICR words", advice="a word has 8 bytes; give some"
            )
        words = array("Q")
        words.frombytes(content)
        if len(words) > MAX_REQUEST_WORDS:
            raise InvalidArgumentError(
                f"{len(words)} words in one request", advice=f"give at most {MAX_REQUEST_WORDS}"
            )
        self.kinds: Kinds | None = kinds_of(words)
        for word in self.kinds.counts:
            check_word(word)
        self.words = words
        self.count = len(words)
        self.word = int.from_bytes(blake2b(content, digest_size=_WORD_BYTES).digest(), "big")

    def __str__(self) -> str:
        return f"{self.count} words from {self.words[0]:#018x} on"

    def some(self, begin: int, end: int) -> Sequence[int]:
        """As :meth:`EqualWords.some`."""
        return self.words[begin:end]

    def let_go(self) -> None:
        """All are made: what a repetition is compared with stays, and what people are told."""
        self.words, self.kinds = self.words[:1], None


def equal_words(word: int, count: int) -> EqualWords:
    """``count`` times a word that an agent may inject.

    :raises InvalidArgumentError: it may not, or not so many.
    """
    check_count(count)
    check_word(word)
    return EqualWords(word, count)


def words_of(content: bytes) -> EqualWords | SeveralWords:
    """Words as a request has them, little-endian. Most requests have one.

    :raises InvalidArgumentError: as :class:`SeveralWords`.
    """
    if len(content) != _WORD_BYTES:
        return SeveralWords(content)
    word = word_at(content, 0)
    check_word(word)
    return EqualWords(word, 1)


def check_client(client_id: bytes, first_seq: int) -> None:
    """Whether a source can bear this id and number.

    :raises InvalidArgumentError: it cannot.
    """
    if len(client_id) != IDENTITY_BYTES:
        raise InvalidArgumentError(
            f"a client id of {len(client_id)} bytes",
            advice=f"draw {IDENTITY_BYTES} random bytes once per client",
        )
    if not 1 <= first_seq < _MAX_SEQ:
        raise InvalidArgumentError(
            f"sequence number {first_seq} is out of range", advice="number writes from 1"
        )


def check_count(count: int) -> None:
    """Whether one call may make so many writes.

    :raises InvalidArgumentError: it may not.
    """
    if not 1 <= count <= MAX_COUNT:
        raise InvalidArgumentError(
            f"{count} writes in one call", advice=f"ask for 1 to {MAX_COUNT}"
        )


def check_word(word: int) -> None:
    """Whether an agent without an APIC can inject the word.

    :raises InvalidArgumentError: reserved bits, self, or all but self, or more than 64 bits.
    """
    reserved = reserved_bits_x2apic(word)
    if reserved:
        raise InvalidArgumentError(
            f"malformed ICR {word:#018x}: reserved bits {reserved:#x} are set",
            advice="bits 31:20, 17:16 and 13 must be 0 (SDM 10.12.9)",
        )
    if word >> WORD_BITS:
        decode(word)  # which says so
    shorthand = shorthand_of(word)
    if shorthand in (Shorthand.SELF, Shorthand.ALL_EXCLUDING_SELF):
        raise InvalidArgumentError(
            "an external agent has no APIC of its own, so there is no self to "
            + ("send to" if shorthand is Shorthand.SELF else "leave out"),
            advice="name a destination, or ask a CPU to write its ICR",
        )
