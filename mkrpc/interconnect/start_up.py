"""How the host's boot CPU starts and stops the CPUs of another instance, by IPIs like any other.

The ICR writes are those of a CPU and stand in the books. Source of the sequence:
wakeup_secondary_cpu_via_init (arch/x86/kernel/smpboot.c); of the two ways to fail, do_boot_cpu: a
CPU that never began is not responding, one that began and did not come online is stuck.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from mkrpc.errors import MkrpcError, NoCpuError, StuckError, UnavailableError
from mkrpc.interconnect.apic_bus import ApicBus
from mkrpc.interconnect.session import Session
from mkrpc.interconnect.tally import Tally
from mkrpc.lifecycle import HOST_ID, cpus_to_start
from mkrpc.outcome import Outcome
from mkrpc.x86.icr import init_assert, nmi, startup

__all__ = ["BOOT_TIMEOUT_S", "START_PAGE", "boot_by_host", "host_of", "ring_nmi", "sender_of"]

BOOT_TIMEOUT_S = 10.0
"""Seconds for a boot CPU to come online, as in do_boot_cpu."""

START_PAGE = 0x08
"""The page that the start-up IPIs name: physical address 0x8000."""

OTHERS_TIMEOUT_S = 2.0
"""Seconds that the others are waited for after that; the kernel's log tells of one that is late."""

_LOOK_S = 0.005

_Writes = list[tuple[str, Tally]]
"""What the host was asked to write, and what became of it."""


def host_of(bus: ApicBus) -> Session | None:
    """The session of the host instance, if it is attached."""
    return next((each for each in bus.sessions() if each.instance_id == HOST_ID), None)


def sender_of(bus: ApicBus) -> int:
    """The APIC id of the CPU that boots other instances: the host's first. NoCpuError (ENODEV)."""
    host = host_of(bus)
    if host is None:
        raise NoCpuError(
            "ENODEV: the host instance is not active: nobody can send INIT and SIPI",
            advice=f"start it: mkrpc exec {HOST_ID}; or boot without: mkrpc exec --direct",
        )
    return host.addresses[0].apic_id


async def boot_by_host(
    bus: ApicBus,
    drain: Callable[[], None],
    instance_id: int,
    *,
    cmdline: str = "",
    spare_cpus: int = 0,
    timeout_s: float = BOOT_TIMEOUT_S,
    init: bool = True,
) -> int:
    """INIT and two SIPIs to CPU 0 of an instance, then wait until it is online; its APIC id.

    Without ``init`` SIPIs alone, which do nothing to a CPU that has had one: it has waited for SIPI
    since it began, and another SIPI may be on its way.

    It brings up as many of the others as the command line lets it, but for the last
    ``spare_cpus``: they are waited for too, and one that does not come fails nothing here.

    StuckError (ETIMEDOUT), which says how far it came; UnavailableError if the instance goes away;
    NoCpuError (ENODEV) if nobody can send.
    """
    session = bus.session(instance_id)
    apic_id = session.addresses[0].apic_id
    sender = sender_of(bus)
    sipi = ("SIPI", startup(apic_id, START_PAGE))
    writes: _Writes = []
    try:
        async with asyncio.timeout(timeout_s):
            for ipi in (("INIT", init_assert(apic_id)), sipi, sipi) if init else (sipi, sipi):
                await _write(bus, drain, sender, ipi, writes)
            if init and not _sipi_arrived(writes):
                raise _stuck(bus, session, writes, 0)
            await _come_online(session, 1)
    except TimeoutError:
        raise _stuck(bus, session, writes, timeout_s) from None
    with suppress(TimeoutError):
        async with asyncio.timeout(OTHERS_TIMEOUT_S):
            at_boot = len(session.addresses) - spare_cpus
            await _come_online(session, cpus_to_start(cmdline, at_boot))
    return apic_id


async def _come_online(session: Session, cpus: int) -> None:
    """Return once the first so many CPUs are online; UnavailableError if the instance ends."""
    while not all(address.software_enabled for address in session.addresses[:cpus]):
        if not session.alive:
            raise UnavailableError(
                f"instance {session.instance_id} ended during start-up: {session.end_reason}",
                advice="its log says why (logs/ in the cluster's state directory)",
            )
        await asyncio.sleep(_LOOK_S)


async def _write(
    bus: ApicBus, drain: Callable[[], None], sender: int, ipi: tuple[str, int], writes: _Writes
) -> None:
    """Let a CPU write its ICR once, and wait until its legs have ended; the tally is appended."""
    what, word = ipi
    done: asyncio.Future[Tally] = asyncio.get_running_loop().create_future()
    tally = bus.write_icr(
        apic_id=sender,
        word=word,
        count=1,
        on_done=lambda tally: None if done.done() else done.set_result(tally),
    )
    writes.append((what, tally))
    drain()
    try:
        await done
    except asyncio.CancelledError:
        bus.abandon(tally)
        raise
    if tally.error is not None:
        raise tally.error


def _sipi_arrived(writes: _Writes) -> bool:
    return any(
        outcome is Outcome.DELIVERED
        for what, tally in writes
        for _, _, outcome in tally.legs
        if what == "SIPI"
    )


def _became(tally: Tally) -> str:
    """Of one write: how its legs ended, as far as they have."""
    ended = "; ".join(outcome.text for _, _, outcome in tally.legs)
    return ended or ("in flight" if tally.written else "not written by the host")


def _stuck(bus: ApicBus, session: Session, writes: _Writes, timeout_s: float) -> StuckError:
    apic_id = session.addresses[0].apic_id
    _, accounts = bus.mirrored(session.instance_id)
    # What no account has told of yet looks idle, and has not begun without a SIPI.
    began = _sipi_arrived(writes) and accounts[0].activity != "wait-for-sipi"
    legs = ", ".join(f"{what}: {_became(tally)}" for what, tally in writes)
    how = "is stuck: it began and did not come online" if began else "is not responding"
    within = f" within {timeout_s:g} s" if timeout_s else ""
    return StuckError(
        f"ETIMEDOUT: CPU 0 of instance {session.instance_id} ({session.hello.name}), APIC id "
        f"{apic_id}, {how}{within} ({legs})",
        advice="its process was ended; look for faults (mkrpc fault list) and at the policy",
    )


def ring_nmi(bus: ApicBus, drain: Callable[[], None], instance_id: int) -> list[Tally]:
    """Let the host's boot CPU send an NMI to every CPU of an instance; empty if there is no host.

    Nobody waits for what becomes of them. Whoever gives them up has the bus abandon what is
    returned: the next incarnation must not get what the host's kernel has not been told yet.
    """
    host = host_of(bus)
    if host is None or host.instance_id == instance_id:
        return []
    sender = host.addresses[0].apic_id
    rung: list[Tally] = []
    try:
        for address in bus.session(instance_id).addresses:
            if address.vacant:
                continue  # another kernel may have that CPU by now
            word = nmi(address.apic_id)
            rung.append(bus.write_icr(apic_id=sender, word=word, count=1, on_done=_ignore))
    except MkrpcError:
        for tally in rung:
            bus.abandon(tally)
        raise
    drain()
    return rung


def _ignore(tally: Tally) -> None:
    """The books have it."""
