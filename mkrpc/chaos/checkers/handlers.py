"""What programs and handlers counted by themselves, against each other and against the books."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from mkrpc.chaos.evidence import Evidence
from mkrpc.chaos.tables import Life, Vectors
from mkrpc.client.books import LedgerParty, LedgerRow
from mkrpc.outcome import Outcome

__all__ = ["accounts_of_handlers", "handled_once", "order", "writes"]

_INTO_THE_IRR = ("fixed", "lowest_priority")


def handled_once(evidence: Evidence) -> list[str]:
    """No handler ran for an interrupt that was not written, or more often than it was delivered.

    By what the CPUs wrote down themselves: to one CPU, over all its lives, no more than was written
    for it over all lives of the source. And by the books: to one incarnation no more than was
    delivered to it, with what may have been.
    """
    written: Counter[tuple[int, int]] = Counter()
    handled: Counter[tuple[int, int]] = Counter()
    for life in evidence.lives:
        for other in range(len(life.written)):
            written[life.apic_id, other] += life.written[other]
            handled[other, life.apic_id] += life.first[other] + life.second[other]
    lines = []
    if not evidence.unrecorded:
        for (source, destination), count in sorted(handled.items()):
            if count > written[source, destination]:
                lines.append(
                    f"APIC id {destination} handled {count} interrupts of APIC id {source}, which "
                    f"wrote {written[source, destination]}"
                )
    if evidence.restarts:
        # What a source that died with the interconnect had reported is in no row of a dead one.
        alive = set(evidence.current.values())
        return lines + _against_books(evidence, lambda life: life.incarnation in alive)
    return lines + _against_books(evidence, lambda _life: True)


def _against_books(evidence: Evidence, of: Callable[[Life], bool]) -> list[str]:
    booked = _Booked(evidence)
    alive = set(evidence.current.values())
    lines = []
    for life in filter(of, evidence.lives):
        if life.incarnation not in booked.incarnations | alive:
            continue  # Folded by now, or it never had a leg.
        for vector, count in _handled(life):
            delivered = booked.delivered[life.incarnation, life.apic_id, vector]
            maybe = booked.maybe[life.incarnation, life.apic_id, vector]
            # One that was pending when its CPU died was delivered, and never handled.
            least = delivered if life.incarnation in alive else delivered - 1
            if not least <= count <= delivered + maybe:
                lines.append(
                    f"APIC id {life.apic_id} life {life.number} vector {vector:#04x}: handled "
                    f"{count}, the books have {delivered} delivered and {maybe} that may have been"
                )
    return lines


def accounts_of_handlers(evidence: Evidence) -> list[str]:
    """What the handlers counted is what the local APIC of their CPU counts as handled."""
    lives = {(life.incarnation, life.apic_id): life for life in evidence.lives}
    lines = []
    for found in evidence.cluster.instances:
        accounts = evidence.accounts.get(found.id)
        if accounts is None:
            continue
        for cpu, own in zip(found.cpus, accounts.instance, strict=True):
            life = lives.get((accounts.incarnation, cpu.apic_id))
            if life is None:
                continue
            handled = {count.vector: count.handled for count in own.vectors}
            for vector, count in _handled(life):
                if count != handled.get(vector, 0):
                    lines.append(
                        f"APIC id {cpu.apic_id} vector {vector:#04x}: its handler ran {count} "
                        f"times, its APIC has {handled.get(vector, 0)}"
                    )
    return lines


def order(evidence: Evidence) -> list[str]:
    """Nothing overtakes (design 3.2): where a second came without its first, there is a first in
    the books that changed nothing: coalesced, rejected or lost."""
    booked = _Booked(evidence)
    lines = []
    for life in evidence.lives:
        if life.incarnation not in booked.incarnations:
            continue
        vectors = Vectors(len(life.overtaken))
        for source, overtaken in enumerate(life.overtaken):
            missing = booked.missing[life.incarnation, life.apic_id, vectors.first(source)]
            if overtaken > missing:
                lines.append(
                    f"APIC id {life.apic_id} life {life.number}: {overtaken} seconds of APIC "
                    f"id {source} came before their firsts, of which {missing} are missing"
                )
    return lines


def writes(evidence: Evidence) -> list[str]:
    """What a program wrote is what the books have of it; of one that died, not more."""
    booked = _Booked(evidence)
    alive = set(evidence.current.values())
    lines = []
    for life in evidence.lives:
        vectors = Vectors(len(life.written))
        of_life = [
            booked.written[life.incarnation, vector]
            for vector in (vectors.first(life.apic_id), vectors.second(life.apic_id))
        ]
        own, known = sum(life.written), sum(of_life)
        if known > own or (life.incarnation in alive and known != own):
            who = f"APIC id {life.apic_id} life {life.number}"
            lines.append(f"{who} wrote {own} times, the books have {known}")
    return lines


def _handled(life: Life) -> Iterator[tuple[int, int]]:
    """Each vector of the load, and how often its handler ran."""
    vectors = Vectors(len(life.written))
    for source in range(len(life.written)):
        yield vectors.first(source), life.first[source]
        yield vectors.second(source), life.second[source]
        yield vectors.group(source), life.group[source]
    yield vectors.client, life.client


@dataclass(slots=True, init=False)
class _Booked:
    """The ledger by destination incarnation, APIC id and vector; and by source and vector."""

    delivered: Counter[tuple[bytes, int, int]]
    maybe: Counter[tuple[bytes, int, int]]
    missing: Counter[tuple[bytes, int, int]]
    written: Counter[tuple[bytes, int]]
    incarnations: set[bytes]

    def __init__(self, evidence: Evidence) -> None:
        self.delivered, self.maybe, self.missing = Counter(), Counter(), Counter()
        self.written, self.incarnations = Counter(), set()
        for row in evidence.ledger.rows:
            if row.delivery_mode not in _INTO_THE_IRR:
                continue
            self.written[row.source.identity, row.vector] += row.totals.written
            if row.destination is not None and row.destination.apic_id is not None:
                self._book(row, row.destination)

    def _book(self, row: LedgerRow, to: LedgerParty) -> None:
        self.incarnations.add(to.identity)
        key = (to.identity, to.apic_id or 0, row.vector)
        for outcome, count in row.outcomes:
            if outcome is Outcome.DELIVERED:
                self.delivered[key] += count
            else:
                self.missing[key] += count
            if outcome.reason.endswith("maybe_delivered"):
                self.maybe[key] += count
