"""In which state an instance is, by what its session and its host agent say of it."""

from mkrpc.interconnect.apic_bus import ApicBus
from mkrpc.interconnect.attachments import LEFT
from mkrpc.interconnect.host_orders import HostedProcess
from mkrpc.interconnect.hosts import HostRegistry
from mkrpc.interconnect.registry import InstanceRecord
from mkrpc.interconnect.standing import link_state
from mkrpc.lifecycle import Ending, InstanceState, describe_end, state_of

__all__ = ["detail_of", "instance_state", "known_ids", "pid_of", "state_to_pb"]


def known_ids(bus: ApicBus, hosts: HostRegistry) -> list[int]:
    """Every instance id: of those that ever attached, but for the deleted ones, and of those that a
    host agent has; ascending."""
    attached = (
        record.instance_id
        for record in bus.instances()
        if record.attached or not _is_deleted(record, hosts)
    )
    return sorted({*attached, *hosts.processes})


def _is_deleted(record: InstanceRecord, hosts: HostRegistry) -> bool:
    number = record.instance_id
    return number in hosts.deleted or hosts.forgotten.get(number) == record.incarnation


def instance_state(
    bus: ApicBus, record: InstanceRecord | None, process: HostedProcess | None
) -> InstanceState:
    """Of an instance that attached once, that a host agent has, or both."""
    alive = record is not None and (record.attached or bus.is_awaited(record.incarnation))
    return state_of(
        active=alive and not (process is not None and process.booting),
        ending=_ending(record, process),
        # Of one that was started by hand nobody here knows more.
        loaded=process is None or process.image is not None,
        cpus=len(process.apic_ids) if process is not None else 0,
    )


def _ending(record: InstanceRecord | None, process: HostedProcess | None) -> Ending:
    if process is not None:
        if process.failure:
            return Ending.DIED
        if process.booting or process.pid == 0:
            return Ending.NEVER_RAN
        if not process.running and process.ended_by_order:
            return Ending.ASKED
        if record is None:
            return Ending.NEVER_RAN if process.running else Ending.DIED
    assert record is not None, "somebody knows of it"
    left_cleanly = record.reason.startswith(LEFT)
    if process is not None and not process.running and process.pid == record.pid:
        left_cleanly = left_cleanly and process.exit_code == 0
    return Ending.ASKED if left_cleanly else Ending.DIED


def state_to_pb(state: InstanceState) -> str:
    """Its name on the wire."""
    return f"INSTANCE_STATE_{state.name}"


def detail_of(bus: ApicBus, record: InstanceRecord | None, process: HostedProcess | None) -> str:
    """Why it is not active, or what is wrong with the link of one that is; empty if nothing is."""
    if process is not None and process.failure:
        return process.failure
    if process is not None and process.booting:
        return "its boot CPU has not come up yet"
    if record is not None and record.session is not None:
        paused = process is not None and process.paused and process.pid == record.pid
        return "; ".join(
            filter(None, ("paused" if paused else "", link_state(bus, record.session)))
        )
    if process is not None and process.pid == 0:
        return "not started yet"
    how = ""
    if process is not None and not process.running:
        how = describe_end(process.exit_code)
    if record is None:
        return how or "not attached yet"
    if process is not None and process.pid == record.pid and how:
        return f"{record.reason}; {how}"
    return record.reason


def pid_of(record: InstanceRecord | None, process: HostedProcess | None) -> int:
    """Of its process; 0 if that has ended: another one may have its number by now.

    Of one that was started by hand, and did not say that it leaves, nobody knows.
    """
    if record is not None and record.session is not None:
        return record.pid
    if process is not None:
        return process.pid if process.running else 0
    return record.pid if record is not None and not record.reason.startswith(LEFT) else 0
