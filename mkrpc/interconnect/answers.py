"""What the bus knows, as the messages of the Control service."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from mkrpc.codec import cpu_account_to_pb, cpu_address_to_pb
from mkrpc.interconnect.apic_bus import ApicBus
from mkrpc.interconnect.bucket import CLIENTS
from mkrpc.interconnect.fault_control import faults_to_pb
from mkrpc.interconnect.host_orders import HostedProcess
from mkrpc.interconnect.hosts import HostRegistry
from mkrpc.interconnect.instance_state import (
    detail_of,
    instance_state,
    known_ids,
    pid_of,
    state_to_pb,
)
from mkrpc.interconnect.ledger import Party, Row, Totals
from mkrpc.interconnect.registry import InstanceRecord
from mkrpc.interconnect.tally import LegKind, Tally
from mkrpc.v1 import control_pb2 as pb
from mkrpc.v1 import types_pb2 as types

__all__ = [
    "PAGE_BYTES",
    "ROWS_PER_MESSAGE",
    "Switches",
    "cluster_to_pb",
    "leg_to_pb",
    "ledger_to_pb",
    "legs_to_pb",
    "party_to_pb",
    "rate_to_pb",
    "row_to_pb",
]

ROWS_PER_MESSAGE = 2000
"""Rows of the ledger in one message, about 250 KB."""

PAGE_BYTES = 1 << 20
"""Bytes of instances after which a page ends: so it has them and one instance more at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Switches:
    """What is special about a machine, as its topology spells it, for whoever asks.

    ``apic``: switches of its local APICs that differ from their defaults. ``instances``: by
    instance id, those of one kernel.
    """

    apic: Mapping[str, str] = field(default_factory=dict)
    instances: Mapping[int, Mapping[str, str]] = field(default_factory=dict)


def legs_to_pb(tally: Tally) -> list[pb.LegCount]:
    """The legs of a request, in the order in which their kinds were first seen."""
    return [leg_to_pb(kind, count) for kind, count in tally.legs.items()]


def leg_to_pb(kind: LegKind, count: int) -> pb.LegCount:
    """So many legs of a kind."""
    apic_id, instance_id, outcome = kind
    return pb.LegCount(
        apic_id=None if instance_id is None else apic_id,
        instance_id=instance_id,
        outcome=int(outcome),  # type: ignore[arg-type]
        count=count,
    )


def cluster_to_pb(
    bus: ApicBus,
    hosts: HostRegistry,
    switches: Switches,
    *,
    address: str,
    interconnect_pid: int,
    summary: bool = False,
    page_from: int | None = None,
) -> pb.GetClusterResponse:
    """Every instance: those that ever attached, and those that a host agent could start.

    In a ``summary`` they are left out. ``page_from``: only those from this id on, and only as many
    as a page holds; pool and faults are in the first page alone.
    """
    first = page_from or 0
    response = pb.GetClusterResponse(
        address=address,
        epoch=bus.epoch,
        interconnect_pid=interconnect_pid,
        policy=bus.policy.name,
        apic=switches.apic,
        client_rate=rate_to_pb(bus, CLIENTS),
        faults=faults_to_pb(bus.faults, bus.now_us) if not first else (),
        roster=bus.roster_number,
    )
    if (recovering := bus.recovering) is not None:
        back, expected, left_us = recovering
        response.recovery.CopyFrom(pb.Recovery(back=back, expected=expected, left_us=left_us))
    if summary:
        return response
    if not first:
        response.pool.extend(sorted(hosts.pool))
    records = {record.instance_id: record for record in bus.instances()}
    told = 0
    for instance_id in known_ids(bus, hosts):
        if instance_id < first:
            continue
        if page_from is not None and told >= PAGE_BYTES:
            response.next_instance = instance_id
            break
        record, process = records.get(instance_id), hosts.processes.get(instance_id)
        instance = _instance(bus, record, process)
        instance.switches.update(switches.instances.get(instance.id, {}))
        if (rate := rate_to_pb(bus, instance.id)) is not None:
            instance.rate.CopyFrom(rate)
        response.instances.append(instance)
        told += instance.ByteSize()
    return response


def rate_to_pb(bus: ApicBus, instance_id: int | None) -> pb.RateLimit | None:
    """The token bucket of an instance, or of :data:`CLIENTS`; None if there is none."""
    bucket, available = bus.buckets.of(instance_id), bus.buckets.available(instance_id)
    if bucket is None or available is None:
        return None
    return pb.RateLimit(
        writes_per_s=bucket.rate.writes_per_s,
        burst=bucket.rate.burst,
        available=available,
        passed=bucket.passed,
        refused=bucket.refused,
    )


def _instance(
    bus: ApicBus, record: InstanceRecord | None, process: HostedProcess | None
) -> pb.Instance:
    state = instance_state(bus, record, process)
    instance = pb.Instance(
        state=state_to_pb(state),
        detail=detail_of(bus, record, process),
        pid=pid_of(record, process),
    )
    if process is not None:
        instance.id, instance.name = process.instance_id, process.name
        instance.apic_ids.extend(process.apic_ids)
        if process.image is not None:
            instance.image.CopyFrom(process.image)
    if record is None:
        return instance
    instance.id, instance.name = record.instance_id, record.name
    instance.incarnation, instance.incarnations = record.incarnation, record.incarnations
    row = bus.mirror.row(record.incarnation)
    accounts = row.accounts() if row is not None else []
    for address, account in zip(record.cpus, accounts, strict=False):
        if address.vacant:
            continue
        instance.cpus.add(address=cpu_address_to_pb(address), account=cpu_account_to_pb(account))
    return instance


def ledger_to_pb(bus: ApicBus, *, totals_only: bool) -> list[pb.GetLedgerResponse]:
    """The books: the summary, then the rows in messages of a bounded size."""
    discrepancies = bus.balance()
    summary = pb.LedgerSummary(
        balanced=not discrepancies, totals=_totals(bus.totals()), discrepancies=discrepancies
    )
    messages = [pb.GetLedgerResponse(summary=summary)]
    if totals_only:
        return messages
    in_flight: Counter[Row] = Counter()
    for session in bus.sessions():
        session.legs.count_by_row(in_flight)
    rows = [row_to_pb(row, in_flight[row]) for row in bus.ledger]
    for first in range(0, len(rows), ROWS_PER_MESSAGE):
        messages.append(pb.GetLedgerResponse(rows=rows[first : first + ROWS_PER_MESSAGE]))
    return messages


def row_to_pb(row: Row, in_flight: int) -> pb.LedgerRow:
    """A row of the books, of whose legs so many are in flight."""
    message = pb.LedgerRow(
        source=party_to_pb(row.key.source),
        delivery_mode=row.key.mode.name.lower(),
        vector=row.key.vector,
        totals=_totals(Totals.of([row], in_flight=in_flight)),
    )
    if row.key.destination is not None:
        message.destination.CopyFrom(party_to_pb(row.key.destination))
        message.destination.apic_id = row.key.apic_id
    for outcome, count in row.outcomes.items():
        message.outcomes.add(outcome=types.Outcome.ValueType(outcome), count=count)
    return message


def _totals(totals: Totals) -> pb.LedgerTotals:
    return pb.LedgerTotals(
        written=totals.written,
        delivered=totals.delivered,
        coalesced=totals.coalesced,
        rejected=totals.rejected,
        lost=totals.lost,
        in_flight=totals.in_flight,
    )


def party_to_pb(party: Party) -> pb.LedgerParty:
    """A source or a destination; its APIC id is for the caller."""
    return pb.LedgerParty(instance_id=party.instance_id, name=party.name, identity=party.identity)
