"""Who may ring whom: a table of rows, the first that matches decides (design 3.5)."""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import IntEnum

from mkrpc.errors import InvalidArgumentError
from mkrpc.interconnect.bucket import Rates
from mkrpc.outcome import Outcome
from mkrpc.x86.icr import DeliveryMode, Icr, Shorthand
from mkrpc.x86.irq_vectors import MULTIKERNEL_VECTOR

__all__ = ["HOST_INSTANCE", "MAX_RULES", "PROFILES", "Policy", "Rule", "Scope", "SourceKind"]

HOST_INSTANCE = 0
"""The instance that assigns CPUs to the others, and may therefore start and stop them."""

MAX_RULES = 1024
"""Rows in one policy at most; more are an :class:`InvalidArgumentError`."""


class SourceKind(IntEnum):
    """Who writes: a CPU of an instance, or an external agent without an APIC."""

    INSTANCE = 1
    CLIENT = 2


class Scope(IntEnum):
    """Where a leg goes, as seen from its source. A client has no instance of its own."""

    ANYWHERE = 0
    OWN_INSTANCE = 1
    OTHER_INSTANCE = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One row. A column that is ``None`` (or ``ANYWHERE``) matches everything.

    ``vectors`` is looked at for the modes that carry a vector into the IRR (fixed and lowest
    priority); a row that names vectors matches no other mode.
    """

    permit: bool
    source_kind: SourceKind | None = None
    source_ids: AbstractSet[int] | None = None
    destination_ids: AbstractSet[int] | None = None
    scope: Scope = Scope.ANYWHERE
    modes: AbstractSet[DeliveryMode] | None = None
    vectors: AbstractSet[int] | None = None
    shorthands: AbstractSet[Shorthand] | None = None

    def matches(self, *, source_id: int | None, destination_id: int, icr: Icr) -> bool:
        """Whether this row speaks about the leg; ``source_id`` is None for a client."""
        is_own = source_id == destination_id
        source_kind = SourceKind.CLIENT if source_id is None else SourceKind.INSTANCE
        return (
            self.source_kind in (None, source_kind)
            and (self.source_ids is None or source_id in self.source_ids)
            and (self.destination_ids is None or destination_id in self.destination_ids)
            and (self.scope is Scope.ANYWHERE or is_own is (self.scope is Scope.OWN_INSTANCE))
            and (self.modes is None or icr.delivery_mode in self.modes)
            and (self.vectors is None or self._names_vector(icr))
            and (self.shorthands is None or icr.shorthand in self.shorthands)
        )

    def _names_vector(self, icr: Icr) -> bool:
        carries_vector = icr.delivery_mode in (DeliveryMode.FIXED, DeliveryMode.LOWEST_PRIORITY)
        return carries_vector and self.vectors is not None and icr.vector in self.vectors


_FIXED = frozenset({DeliveryMode.FIXED})
_DOORBELL = frozenset({MULTIKERNEL_VECTOR})
_LIFECYCLE = frozenset({DeliveryMode.INIT, DeliveryMode.STARTUP, DeliveryMode.NMI})

PROFILES: dict[str, tuple[Rule, ...]] = {
    # As the machine does: no filter at all, and shorthands leak into other kernels.
    "bare-metal": (Rule(permit=True),),
    "filtered": (
        Rule(permit=True, source_kind=SourceKind.INSTANCE, scope=Scope.OWN_INSTANCE),
        Rule(permit=True, source_kind=SourceKind.INSTANCE, modes=_FIXED, vectors=_DOORBELL),
        # The host instance assigned every other instance's CPUs, so "to CPUs that it assigned"
        # is every CPU that is not its own.
        Rule(
            permit=True,
            source_kind=SourceKind.INSTANCE,
            source_ids=frozenset({HOST_INSTANCE}),
            modes=_LIFECYCLE,
        ),
        # A client is nobody's kernel: the doorbell is all that it gets.
        Rule(permit=True, source_kind=SourceKind.CLIENT, modes=_FIXED, vectors=_DOORBELL),
        Rule(permit=False),
    ),
}
"""The policies that have a name."""


class Policy:
    """A table of :class:`Rule`; what no row matches is not permitted.

    ``rates``: how many writes of whom pass at all, before the rules are asked.

    :raises InvalidArgumentError: more than :data:`MAX_RULES` rows.
    """

    __slots__ = ("name", "permits_everything", "rates", "rules")

    def __init__(
        self, rules: tuple[Rule, ...], *, name: str = "custom", rates: Rates | None = None
    ) -> None:
        if len(rules) > MAX_RULES:
            raise InvalidArgumentError(
                f"a policy of {len(rules)} rows is over the limit of {MAX_RULES}",
                advice="use sets of instance ids in one row",
            )
        self.name = name
        self.rules = rules
        self.rates = Rates() if rates is None else rates
        self.permits_everything = bool(rules) and rules[0] == Rule(permit=True)

    @classmethod
    def named(cls, name: str, *, rates: Rates | None = None) -> "Policy":
        """A profile by its name: ``bare-metal`` or ``filtered``.

        :raises InvalidArgumentError: there is no profile of that name.
        """
        rules = PROFILES.get(name)
        if rules is None:
            raise InvalidArgumentError(
                f"there is no policy named {name!r}", advice=f"use one of {', '.join(PROFILES)}"
            )
        return cls(rules, name=name, rates=rates)

    @classmethod
    def bare_metal(cls) -> "Policy":
        """Everything is permitted, as on the machine itself: the default."""
        return cls.named("bare-metal")

    @classmethod
    def filtered(cls) -> "Policy":
        """Instances are kept apart: the doorbell vector passes, and the host's lifecycle IPIs."""
        return cls.named("filtered")

    def decide(self, *, source_id: int | None, destination_id: int, icr: Icr) -> Outcome | None:
        """None if the leg may pass, else what becomes of it.

        ``source_id`` is the writing instance, None for a client; ``destination_id`` the instance
        that owns the destination CPU.
        """
        if self.permits_everything:
            return None
        for rule in self.rules:
            if rule.matches(source_id=source_id, destination_id=destination_id, icr=icr):
                return None if rule.permit else Outcome.REJECTED_NOT_PERMITTED
        return Outcome.REJECTED_NOT_PERMITTED
