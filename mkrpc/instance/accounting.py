"""The books of one CPU, and the account of it that the interconnect mirrors (design 3.4)."""

from typing import TYPE_CHECKING

from mkrpc.instance.vector_books import vectors_of
from mkrpc.link.frames import CpuAccount, CpuView
from mkrpc.x86 import registers
from mkrpc.x86.apic_base import ApicMode
from mkrpc.x86.irq_stat import FIELDS

if TYPE_CHECKING:
    from mkrpc.instance.cpu import Cpu
    from mkrpc.instance.kernel import Kernel

__all__ = ["AccountReporter", "assert_books", "view_of", "whole_account"]


_Head = tuple[int, int, int, int, bool, str, int]
"""What an account says of a CPU beside its number and its counts, in the order of the fields."""


def _head(cpu: "Cpu") -> _Head:
    apic = cpu.apic
    return (
        apic.irr,
        apic.isr,
        apic.tpr,
        apic.ppr,
        cpu.interrupts_enabled,
        cpu.activity,
        cpu.multikernel_count,
    )


def whole_account(cpu: "Cpu") -> CpuAccount:
    """Everything that has a count, whether reported or not."""
    stats = {index: count for index, count in enumerate(cpu.irq_stat.counts()) if count}
    vectors = [cpu.books.row(vector) for vector in cpu.books.counted()]
    return CpuAccount(cpu.number, *_head(cpu), vectors, stats)


class AccountReporter:
    """What of a kernel's accounts has changed since it was last reported.

    A new reporter begins with everything, for an interconnect that knows nothing. There is one at a
    time: it clears the marks that CPUs and books carry.
    """

    __slots__ = ("_heads", "_kernel", "_latest", "_stats")

    def __init__(self, kernel: "Kernel") -> None:
        self._kernel = kernel
        self._heads: list[_Head | None] = [None] * len(kernel.cpus)
        self._stats: list[tuple[int, ...]] = [(0,) * len(FIELDS)] * len(kernel.cpus)
        self._latest = 0
        """The counter that changed last, on whatever CPU, by its field: mostly the next one to
        change, alone."""
        for cpu in kernel.cpus:
            cpu.changed = True
            cpu.books.touch_all()

    def take(self, budget: int) -> tuple[list[CpuAccount], bool]:
        """Changed accounts, until they hold ``budget`` vectors and CPUs together or more.

        The second value says whether CPUs are left to be looked at.
        """
        accounts: list[CpuAccount] = []
        for cpu in self._kernel.cpus:
            if not cpu.changed:
                continue
            if budget <= 0:
                return accounts, True
            account = self._changed_account(cpu)
            if account is not None:
                accounts.append(account)
                budget -= 1 + len(account.vectors)
        return accounts, False

    def _changed_account(self, cpu: "Cpu") -> CpuAccount | None:
        number = cpu.number
        while number >= len(self._heads):  # it has come since
            self._heads.append(None)
            self._stats.append((0,) * len(FIELDS))
        vectors = cpu.books.take_touched()
        cpu.changed = False
        known = self._stats[number]
        now = cpu.irq_stat.counts()
        changed: dict[int, int] = {}
        if now != known:
            changed = self._changed_stats(now, known)
            self._stats[number] = now
        head = _head(cpu)
        if not vectors and not changed and head == self._heads[number]:
            return None
        self._heads[number] = head
        irr, isr, tpr, ppr, interrupts_enabled, activity, multikernel = head
        return CpuAccount(
            number,
            irr,
            isr,
            tpr,
            ppr,
            interrupts_enabled,
            activity,
            multikernel,
            vectors,
            changed,
        )

    def _changed_stats(self, now: tuple[int, ...], known: tuple[int, ...]) -> dict[int, int]:
        """What differs, by its field; something does."""
        at = self._latest
        if now[:at] == known[:at] and now[at + 1 :] == known[at + 1 :]:
            return {at: now[at]}
        changed = {index: now[index] for index in range(len(now)) if now[index] != known[index]}
        self._latest = next(iter(changed))
        return changed


def view_of(cpu: "Cpu") -> CpuView:
    """A CPU with all its registers, by their names in the SDM; raw values, in its mode's layout.

    ``DIAG_*`` are no registers; they are what no register shows. Two count since the CPU was made:
    the ICR commands that SDM table 10-3 calls invalid (R22), and the spurious vectors that the APIC
    dispensed, which are in no vector's books (R47). One has the errors that the ESR will show when
    it is next written (R50).
    """
    apic = cpu.apic
    id_register = apic.initial_id if apic.mode is ApicMode.X2APIC else apic.xapic_id << 24
    return CpuView(
        account=whole_account(cpu),
        apic_id=apic.initial_id,
        mode=int(apic.mode),
        registers={
            "IA32_APIC_BASE": apic.apic_base,
            "ID": id_register,
            "VERSION": registers.VERSION,
            "TPR": apic.tpr,
            "PPR": apic.ppr,
            "LDR": apic.ldr,
            "DFR": apic.dfr,
            "SVR": apic.svr,
            "ESR": apic.esr,
            "ICR": apic.icr,
            **{f"LVT_{name.upper()}": value for name, value in apic.lvt.items()},
            "TMICT": apic.timer_initial,
            "TDCR": apic.timer_divide,
            "DIAG_INVALID_COMBINATION": apic.invalid_combinations,
            "DIAG_SPURIOUS": apic.spurious_count,
            "DIAG_ESR_PENDING": apic.esr_pending,
        },
    )


def assert_books(kernel: "Kernel") -> None:
    """Raise AssertionError unless the per-vector law of :class:`VectorBooks` holds on every CPU.

    For tests and the simulator; it changes nothing.
    """
    for cpu in kernel.cpus:
        cpu.apic.assert_invariants()
        books, irr, isr = cpu.books, cpu.apic.irr, cpu.apic.isr
        for vector in {*books.counted(), *vectors_of(irr | isr)}:  # all others are 0 on both sides
            pending, in_service = irr >> vector & 1, isr >> vector & 1
            row = books.row(vector)
            assert row.delivered == row.handled + pending + row.discarded, (cpu, pending, row)
            assert row.handled == row.eoi + in_service, (cpu, in_service, row)
