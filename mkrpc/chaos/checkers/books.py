"""The books, the mirrors, the clients and the processes at rest."""

from collections import Counter
from dataclasses import fields

from mkrpc.chaos.evidence import Evidence
from mkrpc.outcome import Outcome

__all__ = ["MAX_MORE_DESCRIPTORS", "books", "clients", "growth", "known", "mirrors"]

MAX_MORE_DESCRIPTORS = 32
"""The open descriptors of one life of the interconnect may grow by so many, and by two for each
instance, from the first look to the last: connections of instances that came after the first look,
and a few that are being closed."""


def books(evidence: Evidence) -> list[str]:
    """Every write has its outcome, and the books balance (design 3.1)."""
    lines = list(evidence.ledger.discrepancies)
    if trouble := evidence.cluster.books_trouble:
        lines.append(f"they are not kept: {trouble}")
    totals = evidence.ledger.totals
    if totals.in_flight:
        lines.append(f"{totals.in_flight} legs have no outcome")
    ended = totals.delivered + totals.coalesced + totals.rejected + totals.lost
    if totals.written != ended + totals.in_flight:
        lines.append(f"written {totals.written} is not the sum of the rest, {ended}")
    if not evidence.ledger.balanced and not lines:
        lines.append("the interconnect calls its books unbalanced, and does not say why")
    return lines


def mirrors(evidence: Evidence) -> list[str]:
    """At rest the mirror equals what each instance says of itself (design 3.4)."""
    lines = []
    for instance_id, accounts in sorted(evidence.accounts.items()):
        if accounts.incarnation != evidence.current.get(instance_id):
            lines.append(f"instance {instance_id}: its accounts are those of another incarnation")
        for mirror, own in zip(accounts.mirror, accounts.instance, strict=False):
            for field in fields(own):
                told, real = getattr(mirror, field.name), getattr(own, field.name)
                if told != real:
                    where = f"instance {instance_id} CPU {own.cpu} {field.name}"
                    lines.append(f"{where}: the mirror has {told}, the instance {real}")
        if len(accounts.mirror) != len(accounts.instance):
            lines.append(f"instance {instance_id}: mirror and instance differ in their CPUs")
    missing = sorted(evidence.current.keys() - evidence.accounts.keys())
    return lines + [f"instance {instance_id} gave no account" for instance_id in missing]


def clients(evidence: Evidence) -> list[str]:
    """What a client was told is in the books, and nothing else if all its calls were answered.

    A client cannot publish books again after a restart of the interconnect: then it may have been
    told more than is left.
    """
    booked: dict[bytes, Counter[Outcome]] = {}
    for row in evidence.ledger.rows:
        if row.source.instance_id is None and row.source.identity:
            counts = booked.setdefault(row.source.identity, Counter())
            for outcome, count in row.outcomes:
                counts[outcome] += count
    lines = []
    for tally in evidence.clients:
        known = booked.get(tally.identity, Counter())
        if evidence.restarts:
            continue
        short = tally.legs - known
        beyond = known - tally.legs if not tally.errors else Counter[Outcome]()
        for what, counts in (("was told of", short), ("was not told of", beyond)):
            for outcome, count in counts.items():
                lines.append(
                    f"client {tally.identity.hex()[:8]} {what} {count} legs {outcome.text} that "
                    f"the books {'lack' if what == 'was told of' else 'have'}"
                )
    return lines


def growth(evidence: Evidence) -> list[str]:
    """Descriptors of the interconnect and processes of the cluster do not grow."""
    lines = []
    expected = 2 + len(evidence.cluster.instances)
    # The fork server, its resource tracker and an interconnect in waiting come on top, no more.
    if evidence.processes and not expected <= evidence.processes <= expected + 3:
        lines.append(f"{evidence.processes} processes where {expected} to {expected + 3} belong")
    for pid in dict.fromkeys(sample.pid for sample in evidence.samples):
        held = [sample.descriptors for sample in evidence.samples if sample.pid == pid]
        if held[-1] > held[0] + MAX_MORE_DESCRIPTORS + 2 * len(evidence.cluster.instances):
            lines.append(f"interconnect {pid}: {held[0]} descriptors at first, {held[-1]} at last")
    return lines


def known(evidence: Evidence) -> list[str]:
    """Everything could be found out."""
    return list(evidence.gathering)
