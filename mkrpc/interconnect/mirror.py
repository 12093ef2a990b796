"""The interconnect's copy of the instances' accounting (design 3.4)."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace

from mkrpc.errors import ProtocolError
from mkrpc.interconnect.clock import Clock
from mkrpc.interconnect.sightings import Sighting
from mkrpc.link.frames import CpuAccount, VectorCount

__all__ = ["ACTIVITIES", "KEPT_INCARNATIONS", "Mirror", "MirrorRow"]

KEPT_INCARNATIONS = 64
"""Dead incarnations whose last accounting is kept; the oldest beyond is forgotten."""

ACTIVITIES = ("running", "idle", "halted", "wait-for-sipi")

_REGISTER_BITS = 256
_VECTORS = 256
_MAX_STATS = 64
"""Fields of irq_stat that a report may name; Linux has fewer."""

_DELIVERED_BITS = 44
"""What is delivered of one vector to one CPU stays below, half a year at a million a second: the
ledger has to be able to say the sum over all of an instance."""

_COUNTS = ("delivered", "coalesced", "handled", "eoi", "discarded")


class _CpuMirror:
    """The last values reported for one CPU."""

    __slots__ = (
        "activity",
        "cpu",
        "interrupts_enabled",
        "irr",
        "isr",
        "multikernel",
        "ppr",
        "sighting",
        "stats",
        "tpr",
        "vectors",
    )

    def __init__(self, cpu: int) -> None:
        self.cpu = cpu
        self.irr = self.isr = self.tpr = self.ppr = self.multikernel = 0
        self.interrupts_enabled = False
        self.activity = "idle"
        self.vectors: dict[int, VectorCount] = {}
        self.stats: dict[int, int] = {}
        self.sighting = Sighting()

    def apply(self, account: CpuAccount, now_us: int) -> None:
        """Take over what has changed; it has been checked."""
        vectors, enabled = self.vectors, account.interrupts_enabled
        moved = enabled != self.interrupts_enabled
        self.sighting.note(vectors, account.vectors, now_us, moved=moved)
        self.irr = account.irr
        self.isr = account.isr
        self.tpr = account.tpr
        self.ppr = account.ppr
        self.interrupts_enabled = enabled
        self.activity = account.activity
        self.multikernel = account.multikernel
        for count in account.vectors:
            vectors[count.vector] = count
        self.stats.update(account.stats)

    def account(self) -> CpuAccount:
        """The registers, without counts."""
        return CpuAccount(
            cpu=self.cpu,
            irr=self.irr,
            isr=self.isr,
            tpr=self.tpr,
            ppr=self.ppr,
            interrupts_enabled=self.interrupts_enabled,
            activity=self.activity,
            multikernel=self.multikernel,
        )


class MirrorRow:
    """One incarnation's accounting, as last reported.

    Values are cumulative, so applying a report twice changes nothing and losing one is mended by
    the next. Never ahead of the instance, and equal to it at quiescence.
    """

    def __init__(self, instance_id: int, cpus: int, clock: Clock | None = None) -> None:
        self.instance_id = instance_id
        self._clock = clock or Clock()
        self._cpus = [_CpuMirror(number) for number in range(cpus)]

    def grow(self) -> None:
        """One more CPU has come to the instance."""
        self._cpus.append(_CpuMirror(len(self._cpus)))

    def apply(self, account: CpuAccount) -> None:
        """Take over what has changed on one CPU.

        :raises ProtocolError: a value that goes backwards, or that no CPU can have. Nothing has
            changed then.
        """
        self._check(account).apply(account, self._clock.now_us)

    def ppr(self, cpu: int) -> int:
        """The processor priority last reported, 0 to 255: lowest priority goes by it (R32)."""
        return self._cpus[cpu].ppr

    def last(self, cpu: int) -> tuple[CpuAccount, Sighting]:
        """The registers last reported, without counts, and since when they are so."""
        mirror = self._cpus[cpu]
        return mirror.account(), mirror.sighting

    def counts(self, cpu: int, vector: int) -> VectorCount:
        """The counts of one vector as last reported."""
        return self._cpus[cpu].vectors.get(vector) or VectorCount(vector, 0, 0, 0, 0, 0)

    def delivered(self, cpu: int) -> dict[int, int]:
        """Interrupts that set an IRR bit, by vector."""
        return {count.vector: count.delivered for count in self._cpus[cpu].vectors.values()}

    def accounts(self) -> list[CpuAccount]:
        """Every CPU's accounting, whole."""
        return [
            replace(
                mirror.account(),
                vectors=[mirror.vectors[vector] for vector in sorted(mirror.vectors)],
                stats=dict(sorted(mirror.stats.items())),
            )
            for mirror in self._cpus
        ]

    def check(self) -> list[str]:
        """The second law of design 3.1 for every CPU and vector; a line for each breach.

        ``delivered = handled + pending in IRR + discarded`` and ``handled = eoi + in service``.
        """
        lines = []
        for number, mirror in enumerate(self._cpus):
            irr, isr = mirror.irr, mirror.isr
            seen = mirror.vectors.keys() | _bits(irr) | _bits(isr)
            for vector in sorted(seen):
                count = mirror.vectors.get(vector) or VectorCount(vector, 0, 0, 0, 0, 0)
                where = f"instance {self.instance_id} CPU {number} vector {vector:#04x}"
                pending, in_service = irr >> vector & 1, isr >> vector & 1
                if count.delivered != count.handled + pending + count.discarded:
                    lines.append(
                        f"{where}: delivered {count.delivered} is not handled {count.handled} "
                        f"+ pending {pending} + discarded {count.discarded}"
                    )
                if count.handled != count.eoi + in_service:
                    lines.append(
                        f"{where}: handled {count.handled} is not eoi {count.eoi} "
                        f"+ in service {in_service}"
                    )
        return lines

    def _check(self, account: CpuAccount) -> _CpuMirror:
        """The CPU that it is of, if it can be."""
        if not 0 <= account.cpu < len(self._cpus):
            raise ProtocolError(
                f"an account of CPU {account.cpu}, instance {self.instance_id} "
                f"has {len(self._cpus)}"
            )
        if (
            (account.irr | account.isr) >> _REGISTER_BITS
            or (account.tpr | account.ppr) >> 8
            or account.activity not in ACTIVITIES
        ):
            raise ProtocolError(f"CPU {account.cpu} reports registers that no CPU has")
        mirror = self._cpus[account.cpu]
        if account.multikernel < mirror.multikernel:
            raise _went_back(account.cpu, "multikernel")
        vectors, stats = mirror.vectors, mirror.stats
        for count in account.vectors:
            if not 0 <= count.vector < _VECTORS or count.delivered >> _DELIVERED_BITS:
                raise ProtocolError(
                    f"CPU {account.cpu} counts vector {count.vector}, delivered {count.delivered}"
                )
            known = vectors.get(count.vector)
            if known is not None and (
                count.delivered < known.delivered
                or count.coalesced < known.coalesced
                or count.handled < known.handled
                or count.eoi < known.eoi
                or count.discarded < known.discarded
            ):
                name = next(each for each in _COUNTS if getattr(count, each) < getattr(known, each))
                raise _went_back(account.cpu, f"{name} of vector {count.vector:#04x}")
        for number, value in account.stats.items():
            if not 0 <= number < _MAX_STATS:
                raise ProtocolError(f"CPU {account.cpu} counts irq_stat field {number}")
            if value < stats.get(number, 0):
                raise _went_back(account.cpu, f"irq_stat field {number}")
        return mirror


def _bits(register: int) -> set[int]:
    """The vectors whose bits are set in an IRR or ISR."""
    return {vector for vector in range(register.bit_length()) if register >> vector & 1}


def _went_back(cpu: int, what: str) -> ProtocolError:
    return ProtocolError(
        f"CPU {cpu}: {what} went backwards, and cumulative counts only grow",
        advice="a new life of an instance needs a new incarnation",
    )


class Mirror:
    """The rows of all incarnations: those that live, and the last :data:`KEPT_INCARNATIONS` dead.

    A new incarnation opens a new row; an old row never changes again.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or Clock()
        self._live: dict[bytes, MirrorRow] = {}
        self._dead: OrderedDict[bytes, MirrorRow] = OrderedDict()

    def new_row(self, instance_id: int, cpus: int) -> MirrorRow:
        """An empty row, which is nobody's yet."""
        return MirrorRow(instance_id, cpus, self._clock)

    def open(self, incarnation: bytes, row: MirrorRow) -> None:
        """The row of a new incarnation."""
        assert incarnation not in self._live
        assert incarnation not in self._dead
        self._live[incarnation] = row

    def restore(
        self, incarnation: bytes, *, instance_id: int, accounts: Sequence[CpuAccount]
    ) -> None:
        """The last accounting of an incarnation that ended before this interconnect began."""
        self.open(incarnation, self.new_row(instance_id, len(accounts)))
        for account in accounts:
            self._live[incarnation].apply(account)
        self.close(incarnation)

    def close(self, incarnation: bytes) -> None:
        """The incarnation has ended."""
        self._dead[incarnation] = self._live.pop(incarnation)
        if len(self._dead) > KEPT_INCARNATIONS:
            self._dead.popitem(last=False)

    def row(self, incarnation: bytes) -> MirrorRow | None:
        """The row of an incarnation, alive or dead; None if unknown or forgotten."""
        return self._live.get(incarnation) or self._dead.get(incarnation)

    def rows(self) -> dict[bytes, MirrorRow]:
        """The rows of all that are known, by incarnation."""
        return {**self._live, **self._dead}
