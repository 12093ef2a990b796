"""Do the books balance? The laws of design 3.1, checked from what is really there."""

from collections import Counter
from collections.abc import Iterable

from mkrpc.interconnect.ledger import Ledger, Row, RowKey
from mkrpc.interconnect.session import Session
from mkrpc.interconnect.unbooked import UNKNOWN, Unbooked
from mkrpc.outcome import Outcome
from mkrpc.x86.icr import DeliveryMode

__all__ = ["discrepancies"]

_INTO_THE_IRR = (DeliveryMode.FIXED, DeliveryMode.LOWEST_PRIORITY)


def discrepancies(
    ledger: Ledger, sessions: Iterable[Session], *, unbooked: Unbooked | None = None
) -> list[str]:
    """What does not balance, a line each; nothing at any moment of a sound machine.

    First law, per row: written = ended + in flight, the latter counted leg by leg in the queues.
    Second law, per CPU and vector of every instance that has finished its report: what the ledger
    calls delivered is what the instance counts as delivered, and the instance's own counts agree
    among themselves.

    ``unbooked``: of a bus that took over. Of instances that were there before, the second law holds
    once all is quiet: sources send again what the ledger does not have yet.
    """
    live = list(sessions)
    lines = _first_law(ledger, live)
    for session in live:
        if session.mid_report:
            continue
        lines += session.mirror.check()
        if not session.hello.epoch:
            lines += _second_law(ledger, session, None)
        elif unbooked is not None and unbooked.quiet:
            lines += _second_law(ledger, session, unbooked)
    return lines


def _first_law(ledger: Ledger, sessions: list[Session]) -> list[str]:
    in_flight: Counter[Row] = Counter()
    lines = []
    for session in sessions:
        session.legs.count_by_row(in_flight)
    for row in ledger:
        flying = in_flight.pop(row, 0)
        if row.written != row.ended + flying:
            lines.append(
                f"{_name(row.key)}: written {row.written} is not ended {row.ended} "
                f"+ in flight {flying}"
            )
    for row, flying in in_flight.items():
        lines.append(f"{_name(row.key)}: {flying} legs are in flight of a row that is closed")
    return lines


def _second_law(ledger: Ledger, session: Session, unbooked: Unbooked | None) -> list[str]:
    booked: Counter[tuple[int, int]] = Counter()
    for row in ledger.rows_of(session.party):
        if row.key.source == UNKNOWN:
            continue
        if row.key.destination == session.party and row.key.mode in _INTO_THE_IRR:
            delivered = row.outcomes.get(Outcome.DELIVERED, 0)
            booked[row.key.apic_id, row.key.vector] += delivered
    mirrored: Counter[tuple[int, int]] = Counter()
    for address in session.addresses:
        for vector, count in session.mirror.delivered(address.cpu).items():
            mirrored[address.apic_id, vector] += count
    if unbooked is not None:
        unbooked.settle(session, booked, mirrored)
    return [
        f"instance {session.instance_id} APIC id {apic_id} vector {vector:#04x}: the ledger has "
        f"{booked[apic_id, vector]} delivered, the mirror {mirrored[apic_id, vector]}"
        for apic_id, vector in sorted(booked.keys() | mirrored.keys())
        if booked[apic_id, vector] != mirrored[apic_id, vector]
    ]


def _name(key: RowKey) -> str:
    source = f"{key.source.name} {key.source.identity.hex()[:8]}".rstrip()
    where = "nobody" if key.destination is None else f"APIC id {key.apic_id}"
    return f"{source} to {where}, {key.mode.name.lower()} vector {key.vector:#04x}"
