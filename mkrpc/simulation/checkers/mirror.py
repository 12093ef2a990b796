"""The mirror (design 3.4): never ahead of the instance, equal at rest, one row an incarnation."""

from typing import ClassVar

from mkrpc.instance.accounting import whole_account
from mkrpc.instance.cpu import Cpu
from mkrpc.interconnect.apic_bus import ApicBus
from mkrpc.interconnect.mirror import KEPT_INCARNATIONS
from mkrpc.link.frames import CpuAccount
from mkrpc.simulation.checkers.violation import Checker
from mkrpc.simulation.events import HubBegan, Reported, Standing
from mkrpc.trace import InstanceAttached, InstanceDetached, InstanceTakenOver

__all__ = ["SAMPLE_EVERY", "Mirror"]

SAMPLE_EVERY = 10
"""Reports after which a whole row is compared, not only what is delivered."""


class Mirror(Checker):
    """Compares rows with kernels. ``bus`` is the one whose rows they are, at first."""

    name: ClassVar[str] = "mirror"
    listens: ClassVar[tuple[type, ...]] = (
        *(Reported, InstanceAttached, InstanceDetached),
        *(HubBegan, InstanceTakenOver),
    )

    def __init__(self, bus: ApicBus) -> None:
        self._bus = bus
        self._reports = 0
        self._attached: set[bytes] = set()
        self._closed: dict[bytes, list[CpuAccount]] = {}

    def on_event(self, event: object) -> None:
        """As :class:`Checker`."""
        if type(event) is Reported:
            self._reported(event)
        elif type(event) is HubBegan:
            self._bus = event.bus
            self._attached.clear()
        elif isinstance(event, InstanceAttached | InstanceTakenOver):
            self._attached.add(event.incarnation)
            row = self._bus.mirror.row(event.incarnation)
            if row is None or any(account.vectors or account.stats for account in row.accounts()):
                self.fail(f"instance {event.instance_id} begins with counts in its row")
        elif type(event) is InstanceDetached:
            row = self._bus.mirror.row(event.incarnation)
            if row is not None:
                self._closed[event.incarnation] = row.accounts()
            elif event.incarnation in self._attached:
                self.fail(f"the row of instance {event.instance_id} is gone with it")

    def at_end(self, standing: Standing) -> None:
        """As :class:`Checker`."""
        for instance_id, kernel in standing.kernels.items():
            incarnation, mirrored = standing.bus.mirrored(instance_id)
            if incarnation != kernel.incarnation:
                self.fail(f"the last row of instance {instance_id} is another incarnation's")
            for account, cpu in zip(mirrored, kernel.cpus, strict=True):
                if account != whole_account(cpu):
                    self.fail(
                        f"instance {instance_id} CPU {cpu.number} at rest: "
                        f"{_difference(account, whole_account(cpu))}"
                    )
        for incarnation, accounts in self._closed.items():
            row = self._bus.mirror.row(incarnation)
            if row is None and len(self._closed) <= KEPT_INCARNATIONS:
                self.fail(f"the row of {incarnation.hex()} is gone, and it was closed")
            if row is not None and row.accounts() != accounts:
                self.fail(f"the row of {incarnation.hex()} has changed after its end")

    def _reported(self, event: Reported) -> None:
        row = event.bus.mirror.row(event.kernel.incarnation)
        if row is None:
            return  # its incarnation has been detached meanwhile, long ago
        for account in event.frame.accounts:
            cpu = event.kernel.cpus[account.cpu]
            for vector, count in row.delivered(account.cpu).items():
                delivered = cpu.books.row(vector).delivered
                if count > delivered:
                    self.fail(
                        f"instance {event.kernel.config.instance_id} CPU {account.cpu} vector "
                        f"{vector:#04x}: {count} delivered, {delivered} are"
                    )
        self._reports += 1
        if self._reports % SAMPLE_EVERY == 0:
            # The kernel may have taken in a CPU since.
            for cpu, account in zip(event.kernel.cpus, row.accounts(), strict=False):
                self._check_not_ahead(cpu, account)

    def _check_not_ahead(self, cpu: Cpu, account: CpuAccount) -> None:
        now = whole_account(cpu)
        counts = {row.vector: row for row in now.vectors}
        for row in account.vectors:
            known = counts.get(row.vector)
            if (
                known is None
                or row.coalesced > known.coalesced
                or row.handled > known.handled
                or row.eoi > known.eoi
                or row.discarded > known.discarded
            ):
                self.fail(f"CPU {cpu.number}: the mirror has {row}, the instance {known}")
        ahead = [n for n, count in account.stats.items() if count > now.stats.get(n, 0)]
        if ahead or account.multikernel > now.multikernel:
            self.fail(f"CPU {cpu.number}: counters of irq_stat are ahead: {ahead}")


def _difference(mirrored: CpuAccount, real: CpuAccount) -> str:
    """The first field that differs, for a person."""
    for name in CpuAccount.__slots__:
        theirs, ours = getattr(mirrored, name), getattr(real, name)
        if theirs != ours:
            return f"{name} is {ours}, the mirror has {theirs}"
    return "nothing differs"
