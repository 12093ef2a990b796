"""What is done to whom and when: drawn from a seed, whole, before anything is done.

The plan of a seed is always the same; when its faults really begin, and what is under way then, is
not.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar, get_args

from mkrpc.errors import InvalidArgumentError
from mkrpc.host.restarts import LIMIT_WINDOW_S, MAX_RESTARTS

__all__ = [
    "KINDS",
    "LONG_LEASES",
    "MAX_FAULTS",
    "SHORT_LEASES",
    "Fault",
    "Kind",
    "LinkHow",
    "LinkMode",
    "Rng",
    "draw",
    "parse_kinds",
]

Kind = Literal["kill", "stop", "link", "interconnect"]
"""``kill``: kill -9 of an instance, and it is started again. ``stop``: SIGSTOP and SIGCONT of one,
now and then of the interconnect, for less than a lease. ``link``: the stream of an instance, with
its beats past it, now and then that of the clients. ``interconnect``: kill -9 of it, and its host
agent starts another."""

KINDS: tuple[Kind, ...] = get_args(Kind)

LinkHow = Literal["reset", "cut", "abandon", "half-open", "late", "slow"]
"""``reset``: every connection is reset, others may follow at once. ``cut``: and none may.
``abandon``: what is open now falls silent for ever. ``half-open``: one direction or both pass
nothing on, over new connections either.
``late``: all comes late. ``slow``: only so many bytes a second."""

MAX_FAULTS = 100_000
"""Faults of one plan."""

SHORT_LEASES = (0.1, 0.45)
LONG_LEASES = (1.5, 2.0)
"""How long a stop or a silence takes, as parts of a lease: an instance must survive a short one,
and a long one ends it. Between the two it would be a matter of luck."""

_LONG_SHARE = 0.3
"""Of stops, cuts and half-open links: how many outlast the lease."""
_NOBODY_SHARE = 0.15
"""Of stops: how many are the interconnect's; of links: how many are the clients'."""
_WITH_INSTANCE_SHARE = 0.25
"""Of the interconnect's ends: how many take an instance with them at the same moment."""
_MOST_RESTARTS = MAX_RESTARTS - 1
_RESTARTS_WINDOW_S = LIMIT_WINDOW_S + 10.0
_PAUSE_S = (0.0, 1.5)
"""Seconds until an instance that was killed is started again."""
_MEND_S = (0.3, 4.0)
"""Seconds for which a link is late or slow."""
_HOW: tuple[tuple[LinkHow, ...], tuple[LinkHow, ...]] = (
    ("cut", "half-open"),
    ("reset", "reset", "cut", "half-open", "half-open", "abandon", "late", "slow"),
)

ItemT = TypeVar("ItemT")


class Rng(Protocol):
    """Where chance comes from: the part of ``random.Random`` that is used here."""

    def random(self) -> float:
        """From 0.0 to below 1.0."""

    def uniform(self, a: float, b: float) -> float:
        """From ``a`` to ``b``."""

    def choice(self, seq: Sequence[ItemT], /) -> ItemT:
        """One of them."""


@dataclass(frozen=True, slots=True)
class LinkMode:
    """How a link fares. ``directions``: of ``up`` and ``down``, those that are meant."""

    how: LinkHow
    directions: tuple[str, ...] = ("up", "down")
    delay_s: float = 0.0
    bytes_per_s: int = 0

    @property
    def text(self) -> str:
        """As people read it."""
        words: list[str] = [self.how]
        if self.how == "late":
            words.append(f"{self.delay_s:.2f} s")
        if self.how == "slow":
            words.append(f"{self.bytes_per_s // 1000} kB/s")
        if len(self.directions) == 1:
            words.append(f"{self.directions[0]} only")
        return " ".join(words)


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault. ``at_s``: seconds after the start. ``instance_id``: its victim, or who dies with
    the interconnect; None: that one alone or, of a link, the clients. ``duration_s``: until it is
    undone; of a kill, until the start. ``outlasts_lease``: so that it ends its victim."""

    number: int
    at_s: float
    kind: Kind
    instance_id: int | None
    duration_s: float = 0.0
    link: LinkMode | None = None
    outlasts_lease: bool = False

    @property
    def text(self) -> str:
        """As people read it."""
        alone = self.instance_id is None
        nobody = "the clients" if self.kind == "link" else "the interconnect"
        who = nobody if alone else f"instance {self.instance_id}"
        for_s = f" for {self.duration_s:.1f} s"
        beyond = ", beyond the lease" if self.outlasts_lease else ""
        match self.kind:
            case "kill":
                return f"kill -9 of {who}"
            case "stop":
                return f"stop of {who}{for_s}{beyond}"
            case "interconnect":
                return f"kill -9 of {who if alone else f'the interconnect and of {who}'}"
        assert self.link is not None
        return f"link of {who}: {self.link.text}{for_s if self.duration_s else ''}{beyond}"

    @property
    def hits_interconnect(self) -> bool:
        """Whether all instances are without an answer for a while."""
        return self.kind == "interconnect" or (self.kind == "stop" and self.instance_id is None)

    @property
    def may_end(self) -> bool:
        """Whether it ends the incarnation that it hits."""
        return self.outlasts_lease or (
            self.kind in ("kill", "interconnect") and self.instance_id is not None
        )


def parse_kinds(text: str) -> tuple[Kind, ...]:
    """``kill,stop``; InvalidArgumentError for what is none."""
    words = [word.strip() for word in text.split(",")]
    for word in words:
        if word not in KINDS:
            raise InvalidArgumentError(
                f"{word!r} is no kind of fault", advice=f"there are: {', '.join(KINDS)}"
            )
    return tuple(kind for kind in KINDS if kind in words)


def draw(
    rng: Rng,
    *,
    length_s: float,
    every_s: float,
    instance_ids: Sequence[int],
    kinds: Sequence[Kind],
    lease_s: float,
) -> tuple[Fault, ...]:
    """The faults of a run of ``length_s`` seconds, one about every ``every_s``.

    Kinds come in turns, in an order of chance, so that a short run has each. A victim is whoever
    was left alone for longest, or second longest. The interconnect is killed less often than its
    host agent would put up with. InvalidArgumentError beyond :data:`MAX_FAULTS`.
    """
    if length_s / every_s > MAX_FAULTS:
        raise InvalidArgumentError(
            f"a plan of more than {MAX_FAULTS} faults", advice="make it shorter, or --every longer"
        )
    waiting = _shuffled(rng, instance_ids)
    turn: list[Kind] = []
    restarts: list[float] = []
    faults = []
    for number in range(1, int(length_s / every_s) + 1):
        at_s = (number - 1 + rng.uniform(0.25, 0.75)) * every_s
        turn = turn or _shuffled(rng, kinds)
        kind = turn.pop()
        if kind == "interconnect":
            recent = [at for at in restarts if at > at_s - _RESTARTS_WINDOW_S]
            if len(recent) >= _MOST_RESTARTS:
                others: list[Kind] = [other for other in kinds if other != kind]
                if not others:
                    continue
                kind = rng.choice(others)
            else:
                restarts.append(at_s)
        victim: int | None = None
        alone = {
            "interconnect": 1 - _WITH_INSTANCE_SHARE,
            "stop": _NOBODY_SHARE,
            "link": _NOBODY_SHARE,
        }
        if rng.random() >= alone.get(kind, 0.0):
            victim = waiting.pop(0 if len(waiting) == 1 or rng.random() < 0.5 else 1)
            waiting.append(victim)
        faults.append(_fault(rng, Fault(number, at_s, kind, victim), lease_s))
    return tuple(faults)


def _fault(rng: Rng, drawn: Fault, lease_s: float) -> Fault:
    """The same fault with how long it takes and, of a link, what becomes of it."""
    number, at_s, kind, victim = drawn.number, drawn.at_s, drawn.kind, drawn.instance_id
    if kind in ("kill", "interconnect"):
        pause_s = rng.uniform(*_PAUSE_S) if victim is not None else 0.0
        return Fault(number, at_s, kind, victim, pause_s)
    outlasts = victim is not None and rng.random() < _LONG_SHARE
    duration_s = rng.uniform(*(LONG_LEASES if outlasts else SHORT_LEASES)) * lease_s
    if kind == "stop":
        return Fault(number, at_s, kind, victim, duration_s, None, outlasts)
    how = rng.choice(_HOW[0] if outlasts else _HOW[1])
    if how in ("reset", "abandon"):
        duration_s = 0.0
    elif how in ("late", "slow"):
        duration_s = rng.uniform(*_MEND_S)
    directions = (
        (("up", "down"), ("up",), ("down",)) if how in ("half-open", "late") else (("up", "down"),)
    )
    mode = LinkMode(
        how,
        rng.choice(directions),
        delay_s=rng.uniform(0.02, 0.3) if how == "late" else 0.0,
        bytes_per_s=int(rng.uniform(100e3, 400e3)) if how == "slow" else 0,
    )
    return Fault(number, at_s, kind, victim, duration_s, mode, outlasts)


def _shuffled(rng: Rng, items: Sequence[ItemT]) -> list[ItemT]:
    left, mixed = list(items), []
    while left:
        mixed.append(left.pop(int(rng.random() * len(left))))
    return mixed
