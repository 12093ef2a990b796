"""Whether everything that was lost, refused or ended has a fault that explains it."""

from collections import Counter
from collections.abc import Mapping

from mkrpc.chaos.evidence import Done, Evidence
from mkrpc.client.books import LedgerRow
from mkrpc.outcome import Outcome, OutcomeKind

__all__ = ["endings", "explained_endings", "explained_losses", "losses", "refusals", "unanswered"]

_OVERLAP_S = 3.0
"""Seconds around a silence of the interconnect in which another short one adds to it."""
_MOST_OF_A_LEASE = 0.6
_RESTART = (Outcome.LOST_INTERCONNECT_RESTART, Outcome.LOST_INTERCONNECT_RESTART_MAYBE_DELIVERED)
_TARGET = (Outcome.LOST_TARGET_DEAD, Outcome.LOST_TARGET_DEAD_MAYBE_DELIVERED)


def endings(evidence: Evidence) -> list[str]:
    """No incarnation ended without a fault that ends one; all run in the end."""
    lines = []
    for found in evidence.cluster.instances:
        if found.state != "active":
            lines.append(f"instance {found.id} does not run: {found.detail}")
    explained = explained_endings(evidence)
    current = set(evidence.current.values())
    for instance_id, seen in sorted(evidence.incarnations.items()):
        for incarnation in seen:
            if incarnation not in current and incarnation not in explained:
                lines.append(
                    f"instance {instance_id}: incarnation {incarnation.hex()[:8]} ended, and no "
                    "fault that ends one hit it"
                )
    return lines


def explained_endings(evidence: Evidence) -> Mapping[bytes, Done]:
    """The incarnations that a fault may have ended, and by which; :func:`unanswered` among them."""
    return {**unanswered(evidence), **_ended_by_faults(evidence)}


def unanswered(evidence: Evidence) -> Mapping[bytes, Done]:
    """The incarnations that ended without an interconnect that was away for most of their lease.

    No fault of theirs, and none of the plan: the machine had too much to do. A report counts them.
    """
    otherwise = _ended_by_faults(evidence)
    return {
        incarnation: done
        for done in evidence.done
        if done.fault.kind == "interconnect" and done.away_s > _MOST_OF_A_LEASE * evidence.lease_s
        for incarnation in done.gone - otherwise.keys()
    }


def _ended_by_faults(evidence: Evidence) -> dict[bytes, Done]:
    """A short stop or cut ends none by itself; around one of the interconnect, which takes a part
    of the same lease, it may."""
    ended: dict[bytes, Done] = {}
    silences = [done for done in evidence.done if done.fault.hits_interconnect]
    for done in evidence.done:
        silent = done.fault.kind in ("stop", "link")
        together = silent and any(_overlap(done, other) for other in silences)
        # Whoever undoes a fault can be late too.
        too_long = done.away_s > _MOST_OF_A_LEASE * evidence.lease_s
        if done.fault.may_end or together or too_long:
            for incarnation in done.incarnations:
                ended.setdefault(incarnation, done)
    return ended


def _overlap(one: Done, other: Done) -> bool:
    return one.began_s <= other.ended_s + _OVERLAP_S and other.began_s <= one.ended_s + _OVERLAP_S


def explained_losses(evidence: Evidence) -> tuple[dict[str, int], list[str]]:
    """Lost legs by outcome and reason, and those that no fault explains, a line for each row."""
    found = _Losses(evidence)
    reasons: Counter[str] = Counter()
    lines = []
    for row in evidence.ledger.rows:
        for outcome, count in row.outcomes:
            if outcome.kind is OutcomeKind.LOST:
                reason = found.reason(row, outcome)
                if reason:
                    reasons[f"{outcome.text}: {reason}"] += count
                else:
                    lines.append(f"{count} legs {_row_text(row)} {outcome.text} without a fault")
    return dict(sorted(reasons.items())), lines


class _Losses:
    """Finds the fault behind a loss."""

    def __init__(self, evidence: Evidence) -> None:
        self._explained = explained_endings(evidence)
        self._instances = {
            instance_id
            for incarnation, instance_id in evidence.instance_of.items()
            if incarnation in self._explained
        }
        self._restarts = sum(done.fault.kind == "interconnect" for done in evidence.done)
        self._before: dict[bytes, Done] = {}
        """By incarnation, what ended an earlier one of the same instance."""
        for seen in evidence.incarnations.values():
            ended = None
            for incarnation in seen:
                if ended is not None:
                    self._before[incarnation] = ended
                ended = self._explained.get(incarnation, ended)

    def reason(self, row: LedgerRow, outcome: Outcome) -> str:
        """The kind of fault; empty if there is none."""
        if outcome in _RESTART:
            return "interconnect" if self._restarts else ""
        party = row.destination if outcome in _TARGET else row.source
        if party is None:
            return ""
        if not party.identity:
            # Folded: its fault was that of some incarnation of this instance.
            return "earlier incarnations" if party.instance_id in self._instances else ""
        done = self._explained.get(party.identity)
        if done is None and outcome is Outcome.LOST_TARGET_DEAD_MAYBE_DELIVERED and self._restarts:
            # A write that was sent again, older than this life: it answers for the one before it,
            # which may have had it (docs/reliability.md).
            done = self._before.get(party.identity)
        return done.fault.kind if done is not None else ""


def losses(evidence: Evidence) -> list[str]:
    """Nothing is lost without a reason."""
    return explained_losses(evidence)[1]


def refusals(evidence: Evidence) -> list[str]:
    """What was refused: for want of an APIC that somebody's death took away, or of room in a queue
    that a fault had filled. Nothing in the load gives any other reason."""
    someone_ended = bool(explained_endings(evidence))
    someone_hung = any(done.fault.kind != "kill" for done in evidence.done)
    allowed = {
        Outcome.REJECTED_NO_SUCH_APIC: someone_ended,
        Outcome.REJECTED_BACKPRESSURE: someone_hung or someone_ended,
    }
    return [
        f"{count} legs were {outcome.text}, and no fault explains it"
        for outcome, count in sorted(evidence.outcomes.items())
        if outcome.kind is OutcomeKind.REJECTED and not allowed.get(outcome, False)
    ]


def _row_text(row: LedgerRow) -> str:
    to = "nobody" if row.destination is None else f"{row.destination.name}"
    return f"from {row.source.name} to {to}, vector {row.vector:#04x}, were"
