"""The JSON forms of answers. Scripts rely on these keys: add, never rename."""

from dataclasses import asdict

from mkrpc.client.answers import (
    ClusterView,
    InstanceView,
    IpiResult,
    Log,
    MirroredCpu,
    RateLimit,
    Recovery,
)
from mkrpc.client.books import Ledger, LedgerParty, LedgerRow, LedgerTotals
from mkrpc.client.faults import InjectedFault
from mkrpc.client.lifecycle import Image
from mkrpc.link.frames import CpuAccount, CpuView
from mkrpc.x86.apic_base import ApicMode
from mkrpc.x86.irq_stat import FIELDS

__all__ = [
    "Json",
    "cluster_as_json",
    "cpu_as_json",
    "fault_as_json",
    "ipi_as_json",
    "irq_stat_as_json",
    "ledger_as_json",
    "log_as_json",
    "mode_text",
    "rate_as_json",
    "party_as_json",
    "row_as_json",
    "totals_as_json",
    "vectors_of",
]

Json = dict[str, object]


def vectors_of(register: int) -> list[int]:
    """The vectors whose bits are set in a 256-bit IRR, ISR or TMR, ascending."""
    return [vector for vector in range(register.bit_length()) if register >> vector & 1]


def mode_text(mode: int) -> str:
    """``x2apic``, ``xapic`` or ``disabled``."""
    return ApicMode(mode).name.lower()


def irq_stat_as_json(account: CpuAccount) -> dict[str, int]:
    """Every counter of irq_stat by its Linux name, zeros included."""
    return {name: account.stats.get(index, 0) for index, name in enumerate(FIELDS)}


def cluster_as_json(cluster: ClusterView) -> Json:
    """``mkrpc show --json``. Epoch and incarnations are hexadecimal strings."""
    return {
        "address": cluster.address,
        "epoch": f"{cluster.epoch:016x}",
        "interconnect_pid": cluster.interconnect_pid,
        "policy": cluster.policy,
        "restarts": cluster.restarts,
        "recovery": _recovery_as_json(cluster.recovery),
        "books_trouble": cluster.books_trouble,
        "apic": dict(cluster.apic),
        "client_rate": rate_as_json(cluster.client_rate),
        "faults": [fault_as_json(fault) for fault in cluster.faults],
        "pool": list(cluster.pool),
        "instances": [_instance_as_json(instance) for instance in cluster.instances],
    }


def _recovery_as_json(recovery: Recovery | None) -> Json | None:
    return asdict(recovery) if recovery is not None else None


def rate_as_json(rate: RateLimit | None) -> Json | None:
    """A source's token bucket; null if it is not limited."""
    return None if rate is None else asdict(rate)


def fault_as_json(injected: InjectedFault) -> Json:
    """``mkrpc fault --json``: a fault that is injected; null where it is about any, or for ever."""
    fault = injected.fault
    return {
        "number": injected.number,
        "kind": fault.kind.value,
        "text": injected.text,
        "instance": fault.instance,
        "direction": fault.direction.value,
        "source": fault.source,
        "destination": fault.destination,
        "vector": fault.vector,
        "share": fault.share,
        "every": fault.every,
        "limit": fault.limit,
        "delay_ms": fault.delay_us / 1000,
        "jitter_ms": fault.jitter_us / 1000,
        "period_ms": fault.period_us / 1000,
        "seed": f"{fault.seed:016x}",
        "age_s": injected.age_s,
        "left_s": injected.left_s,
        "struck": injected.struck,
    }


def image_as_json(image: Image | None) -> Json | None:
    """What is loaded; null for nothing."""
    if image is None:
        return None
    return {
        "cmdline": image.cmdline,
        "handlers": list(image.handlers),
        "programs": {str(cpu): entry for cpu, entry in image.programs.items()},
        "callables": image.callables,
    }


def _instance_as_json(instance: InstanceView) -> Json:
    return {
        "id": instance.id,
        "name": instance.name,
        "state": instance.state.value,
        "apic_ids": list(instance.apic_ids),
        "image": image_as_json(instance.image),
        "incarnation": instance.incarnation.hex(),
        "incarnations": instance.incarnations,
        "pid": instance.pid,
        "detail": instance.detail,
        "switches": dict(instance.switches),
        "rate": rate_as_json(instance.rate),
        "cpus": [_mirrored_as_json(cpu) for cpu in instance.cpus],
    }


def _mirrored_as_json(cpu: MirroredCpu) -> Json:
    address = {"apic_id": cpu.address.apic_id, "cpu": cpu.address.cpu}
    return address | {"mode": mode_text(cpu.address.mode)} | _account_as_json(cpu.account)


def _account_as_json(account: CpuAccount) -> Json:
    return {
        "irr": vectors_of(account.irr),
        "isr": vectors_of(account.isr),
        "tpr": account.tpr,
        "ppr": account.ppr,
        "interrupts_enabled": account.interrupts_enabled,
        "activity": account.activity,
        "multikernel": account.multikernel,
        "irq_stat": irq_stat_as_json(account),
        "vectors": {
            str(count.vector): {
                "delivered": count.delivered,
                "coalesced": count.coalesced,
                "handled": count.handled,
                "eoi": count.eoi,
                "discarded": count.discarded,
            }
            for count in account.vectors
        },
    }


def cpu_as_json(view: CpuView, instance_id: int | None) -> Json:
    """``mkrpc cpu --json``: the mirror's keys and ``registers`` by SDM name."""
    account = view.account
    where: Json = {"apic_id": view.apic_id, "cpu": account.cpu, "instance_id": instance_id}
    registers = dict(sorted(view.registers.items()))
    return (
        where
        | {"mode": mode_text(view.mode)}
        | _account_as_json(account)
        | {"registers": registers}
    )


def ipi_as_json(result: IpiResult) -> Json:
    """``mkrpc ipi --json``; ``apic_id`` and ``instance_id`` are null for legs to nobody."""
    return {
        "written": result.written,
        "all_arrived": result.all_arrived,
        "legs": [
            {
                "apic_id": leg.apic_id,
                "instance_id": leg.instance_id,
                "outcome": leg.outcome.text,
                "count": leg.count,
            }
            for leg in result.legs
        ],
    }


def ledger_as_json(ledger: Ledger) -> Json:
    """``mkrpc ledger --json``; ``destination`` is null for legs to nobody."""
    return {
        "balanced": ledger.balanced,
        "totals": totals_as_json(ledger.totals),
        "rows": [row_as_json(row) for row in ledger.rows],
        "discrepancies": list(ledger.discrepancies),
    }


def totals_as_json(totals: LedgerTotals) -> Json:
    """The six columns of the ledger."""
    return {
        "written": totals.written,
        "delivered": totals.delivered,
        "coalesced": totals.coalesced,
        "rejected": totals.rejected,
        "lost": totals.lost,
        "in_flight": totals.in_flight,
    }


def row_as_json(row: LedgerRow) -> Json:
    """A row of the books."""
    parties: Json = {
        "source": party_as_json(row.source),
        "destination": None if row.destination is None else party_as_json(row.destination),
    }
    command: Json = {"delivery_mode": row.delivery_mode, "vector": row.vector}
    outcomes: Json = {"outcomes": {outcome.text: count for outcome, count in row.outcomes}}
    return parties | command | totals_as_json(row.totals) | outcomes


def party_as_json(party: LedgerParty) -> Json:
    """A source or a destination."""
    return {
        "instance_id": party.instance_id,
        "name": party.name,
        "identity": party.identity.hex(),
        "apic_id": party.apic_id,
    }


def log_as_json(log: Log) -> Json:
    """``mkrpc dmesg --json``."""
    return {
        "dropped": log.dropped,
        "records": [
            {
                "number": record.number,
                "level": record.level,
                "time_us": record.time_us,
                "cpu": record.cpu,
                "text": record.text,
            }
            for record in log.records
        ],
    }
