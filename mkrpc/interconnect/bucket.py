"""Token buckets: how many ICR writes of a source pass, exactly (design 3.5).

Pure integer arithmetic on the time that the bus was last told. In any interval of ``t`` seconds at
most ``burst + writes_per_s * t`` writes of a source pass; what is over is refused by name, which is
one leg to nobody. A source that is an instance has its bucket by instance id, so that a new
incarnation begins with what the last one has left. All clients share one: anybody can draw another
client id.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self

from mkrpc.errors import InvalidArgumentError
from mkrpc.limits import MAX_BURST, MAX_INSTANCE_ID, MAX_WRITES_PER_S, default_burst

__all__ = ["CLIENTS", "Buckets", "Rate", "Rates", "TokenBucket"]

CLIENTS: Final = None
"""In place of an instance id: all clients together."""

_PER_WRITE = 1_000_000
"""A token in units of one write per second times one microsecond."""


@dataclass(frozen=True, slots=True)
class Rate:
    """``writes_per_s``: 1 to MAX_WRITES_PER_S. ``burst``: writes that pass at once, 1 to MAX_BURST.

    :raises InvalidArgumentError: one of them is out of range.
    """

    writes_per_s: int
    burst: int

    def __post_init__(self) -> None:
        for what, value, limit in (
            ("writes per second", self.writes_per_s, MAX_WRITES_PER_S),
            ("writes at once", self.burst, MAX_BURST),
        ):
            if not 1 <= value <= limit:
                raise InvalidArgumentError(
                    f"a rate of {value} {what}", advice=f"give 1 to {limit}, or no rate at all"
                )

    @classmethod
    def of(cls, plain: Mapping[str, Any] | None) -> Self | None:
        """From a topology's table; None for none, or for 0 writes per second, which is no limit."""
        if not plain or not plain["writes_per_s"]:
            return None
        return cls(plain["writes_per_s"], plain["burst"] or default_burst(plain["writes_per_s"]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Who is limited: ``instances`` each by itself, but for those ``by_id``; ``clients`` together.

    None stands for no limit, which is the default.
    """

    instances: Rate | None = None
    clients: Rate | None = None
    by_id: Mapping[int, Rate | None] = field(default_factory=dict)

    @classmethod
    def parse(cls, texts: tuple[str, ...]) -> Self:
        """From ``[WHO=]WRITES[:BURST]``; WHO is an instance id or ``clients``, else each instance.

        :raises InvalidArgumentError: it is none of these, or out of range.
        """
        found: dict[str, Rate | None] = {}
        for text in texts:
            who, equals, numbers = text.rpartition("=")
            writes, colon, burst = numbers.partition(":")
            known = not equals or who == "clients" or _is_id(who)
            if not known or not _is_number(writes) or (colon and not _is_number(burst)):
                raise InvalidArgumentError(
                    f"{text!r} is no rate",
                    advice="give WRITES_PER_S[:BURST], or with ID= or clients= before it",
                )
            plain = {"writes_per_s": int(writes), "burst": int(burst) if colon else 0}
            found[who] = Rate.of(plain)
        by_id = {int(who): rate for who, rate in found.items() if who not in ("", "clients")}
        return cls(instances=found.get(""), clients=found.get("clients"), by_id=by_id)

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Self:
        """From the plain form that a topology gives: ``instances`` by id, and ``clients``."""
        by_id = {int(key): Rate.of(rate) for key, rate in plain["instances"].items()}
        return cls(clients=Rate.of(plain["clients"]), by_id=by_id)

    def rate_of(self, instance_id: int | None) -> Rate | None:
        """That of an instance, or of :data:`CLIENTS`."""
        if instance_id is CLIENTS:
            return self.clients
        return self.by_id.get(instance_id, self.instances)

    @property
    def limits_nobody(self) -> bool:
        """Whether all writes pass."""
        return not (self.instances or self.clients or any(self.by_id.values()))


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 10


def _is_id(text: str) -> bool:
    return _is_number(text) and int(text) <= MAX_INSTANCE_ID


class TokenBucket:
    """One source's bucket, full at first. ``passed`` and ``refused`` count its writes."""

    __slots__ = ("_level", "_now_us", "passed", "rate", "refused")

    def __init__(self, rate: Rate, now_us: int) -> None:
        self.rate = rate
        self.passed = 0
        self.refused = 0
        self._level = rate.burst * _PER_WRITE
        self._now_us = now_us

    def take(self, count: int, now_us: int) -> int:
        """How many of the next ``count`` writes pass: the first ones. ``now_us`` never goes back.

        All at one time take as much as one by one at that time.
        """
        passing = min(count, self.available(now_us))
        self._level -= passing * _PER_WRITE
        self.passed += passing
        self.refused += count - passing
        return passing

    def available(self, now_us: int) -> int:
        """Writes that would pass now."""
        assert now_us >= self._now_us, "the time ran backwards"
        grown = self._level + (now_us - self._now_us) * self.rate.writes_per_s
        self._level = min(grown, self.rate.burst * _PER_WRITE)
        self._now_us = now_us
        return self._level // _PER_WRITE

    def change(self, rate: Rate, now_us: int) -> None:
        """Another rate from now on; what is left in it stays, as far as the new burst goes."""
        self.available(now_us)
        self.rate = rate
        self._level = min(self._level, rate.burst * _PER_WRITE)


class Buckets:
    """Those of all sources that are limited."""

    def __init__(self, rates: Rates) -> None:
        self._rates = rates
        self._changed: dict[int | None, Rate | None] = {}
        self._found: dict[int | None, TokenBucket | None] = {}
        self.limits_nobody = rates.limits_nobody
        """For whoever asks for every interrupt: :meth:`take` lets all pass."""
        self.now_us = 0
        """Writes that come in from here on are taken to come at that time."""

    def take(self, instance_id: int | None, count: int) -> int:
        """How many of the next ``count`` writes of an instance, or of :data:`CLIENTS`, pass."""
        if self.limits_nobody:
            return count
        bucket = self.of(instance_id)
        return count if bucket is None else bucket.take(count, self.now_us)

    def of(self, instance_id: int | None) -> TokenBucket | None:
        """The bucket of a source; None if it is not limited."""
        if self.limits_nobody:
            return None
        if instance_id not in self._found:
            rate = self._changed.get(instance_id, self._rates.rate_of(instance_id))
            self._found[instance_id] = None if rate is None else TokenBucket(rate, self.now_us)
        return self._found[instance_id]

    def available(self, instance_id: int | None) -> int | None:
        """Writes of a source that would pass now; None if it is not limited."""
        bucket = self.of(instance_id)
        return None if bucket is None else bucket.available(self.now_us)

    def change(self, instance_id: int | None, rate: Rate | None) -> None:
        """Limit a source from now on, or no longer with None."""
        bucket = self.of(instance_id)
        self._changed[instance_id] = rate
        self.limits_nobody = False
        if bucket is not None and rate is not None:
            bucket.change(rate, self.now_us)
        else:
            self._found.pop(instance_id, None)
