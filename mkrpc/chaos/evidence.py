"""What is known when a run is over: from the faults, the books, the instances and the handlers."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mkrpc.chaos.plan import Fault
from mkrpc.chaos.tables import Life
from mkrpc.client.answers import Accounts, ClusterView
from mkrpc.client.books import Ledger
from mkrpc.outcome import Outcome

__all__ = ["ClientTally", "Done", "Evidence", "Sample"]


@dataclass(frozen=True, slots=True)
class Done:
    """A fault that was really done. ``began_s``, ``ended_s``: seconds after the start; at the end
    it was undone, and its victim well again. ``incarnations``: of the victim, that it hit.
    ``recovery_s``: from when nothing stood in the way any more until all was well; None if it never
    was. ``away_s``: how long its victim was really silent, or an interconnect that was killed until
    another one answered; of the latter the incarnations that were ``gone`` when it was over."""

    fault: Fault
    began_s: float
    ended_s: float
    incarnations: frozenset[bytes] = frozenset()
    recovery_s: float | None = None
    away_s: float = 0.0
    gone: frozenset[bytes] = frozenset()


@dataclass(frozen=True, slots=True)
class Sample:
    """What the interconnect's process held at some time."""

    pid: int
    resident_kib: int
    descriptors: int
    threads: int


@dataclass(slots=True)
class ClientTally:
    """What one client knows: the ``legs`` of calls that were answered, by outcome; the ``errors``
    of those that were not, by reason."""

    identity: bytes
    calls: int = 0
    legs: Counter[Outcome] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """All of it. ``accounts`` by instance id; ``incarnations`` by instance id, all that were seen,
    in order; ``lives`` of CPUs, by what they wrote down; ``unrecorded``: those that could not.
    ``gathering``: what could not be found out, a line each. ``restarts``: of the interconnect."""

    cluster: ClusterView
    ledger: Ledger
    accounts: Mapping[int, Accounts]
    done: Sequence[Done]
    incarnations: Mapping[int, Sequence[bytes]]
    lives: Sequence[Life]
    clients: Sequence[ClientTally]
    samples: Sequence[Sample] = ()
    unrecorded: int = 0
    processes: int = 0
    lease_s: float = 3.0
    restarts: int = 0
    gathering: Sequence[str] = ()

    @property
    def outcomes(self) -> Counter[Outcome]:
        """Legs by outcome, of the whole ledger."""
        counts: Counter[Outcome] = Counter()
        for row in self.ledger.rows:
            for outcome, count in row.outcomes:
                counts[outcome] += count
        return counts

    @property
    def current(self) -> dict[int, bytes]:
        """The incarnations that live, by instance id."""
        return {
            found.id: found.incarnation
            for found in self.cluster.instances
            if found.state == "active"
        }

    @property
    def instance_of(self) -> dict[bytes, int]:
        """Whose incarnation was whose."""
        return {
            incarnation: instance_id
            for instance_id, seen in self.incarnations.items()
            for incarnation in seen
        }
