"""A machine small enough to see through: the real bus, and peers that speak the link by hand.

A peer is not a kernel. It is the least that can stand at the other end of a link: it answers legs
by three lines of coalescing arithmetic and counts what it did, so that the books of the bus are
compared with something that shares no code with them.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from mkrpc.interconnect.apic_bus import ApicBus
from mkrpc.interconnect.policy import Policy
from mkrpc.interconnect.routing import Arbitration
from mkrpc.interconnect.session import Session
from mkrpc.link.endpoint import LinkEnd
from mkrpc.link.frames import (
    WIRE_VERSION,
    Command,
    CpuAccount,
    CpuAddress,
    DownFrame,
    Hello,
    OutcomeRun,
    Reply,
    ResolvedRun,
    UpFrame,
    VectorCount,
    Writes,
)
from mkrpc.outcome import Outcome
from mkrpc.x86.apic_base import ApicMode
from mkrpc.x86.destination import x2apic_ldr
from mkrpc.x86.icr import DeliveryMode, decode


class PeerCpu:
    """IF, the IRR as a set, and the counts of each vector. It handles at once while IF is set."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.interrupts_enabled = True
        self.irr: set[int] = set()
        self.delivered: Counter[int] = Counter()
        self.coalesced: Counter[int] = Counter()
        self.handled: Counter[int] = Counter()
        self.ppr = 0

    def accept(self, word: int) -> Outcome:
        icr = decode(word)
        if icr.delivery_mode not in (DeliveryMode.FIXED, DeliveryMode.LOWEST_PRIORITY):
            return Outcome.DELIVERED
        if icr.vector in self.irr:
            self.coalesced[icr.vector] += 1
            return Outcome.COALESCED
        self.delivered[icr.vector] += 1
        if self.interrupts_enabled:
            self.handled[icr.vector] += 1
        else:
            self.irr.add(icr.vector)
        return Outcome.DELIVERED

    def sti(self) -> None:
        self.interrupts_enabled = True
        self.handled.update(self.irr)
        self.irr.clear()

    def account(self) -> CpuAccount:
        return CpuAccount(
            cpu=self.number,
            irr=sum(1 << vector for vector in self.irr),
            isr=0,
            tpr=0,
            ppr=self.ppr,
            interrupts_enabled=self.interrupts_enabled,
            activity="idle" if self.interrupts_enabled else "halted",
            multikernel=0,
            vectors=[
                VectorCount(
                    vector=vector,
                    delivered=self.delivered[vector],
                    coalesced=self.coalesced[vector],
                    handled=self.handled[vector],
                    eoi=self.handled[vector],
                    discarded=0,
                )
                for vector in sorted(self.delivered)
            ],
        )


class Peer:
    """The instance's end of a link, by hand. ``legs`` is every leg received, in order."""

    def __init__(self, bus: ApicBus, hello: Hello) -> None:
        self.bus = bus
        self.hello = hello
        self.cpus = [PeerCpu(number) for number in range(len(hello.cpus))]
        self.session: Session = bus.attach(hello)
        self.link: LinkEnd[UpFrame, DownFrame] = LinkEnd()
        self.seq = 0
        self.events: list[Any] = []
        self.inbox: list[tuple[bytes, int, int, int]] = []
        self.legs: list[tuple[bytes, int, int, int]] = []
        self.applied = 0
        self.outcomes: list[OutcomeRun] = []
        self.replies: list[Reply] = []
        self.commands: list[Command] = []
        self.resolved: list[ResolvedRun] = []
        self.floors: dict[bytes, tuple[ResolvedRun, ...]] = {}

    @property
    def incarnation(self) -> bytes:
        return self.hello.incarnation

    def write(self, word: int, *, cpu: int = 0, count: int = 1, command: int = 0) -> None:
        self.events.append(Writes(cpu, self.seq + 1, [word] * count, command))
        self.seq += count

    def pull(self) -> bool:
        """Take one frame from the bus; whether there was one. Its legs wait in the inbox."""
        frame = self.bus.next_frame(self.session)
        if frame is None:
            return False
        if self.link.receive(frame):
            for legs in frame.legs:
                columns = zip(legs.seqs, legs.words, legs.cpus, strict=True)
                self.inbox += [(legs.source, seq, word, cpu) for seq, word, cpu in columns]
            self.resolved += frame.resolved
            self.floors.update({floor.source: floor.runs for floor in frame.floors})
            self.commands += frame.commands
        return True

    def answer(self, count: int | None = None) -> None:
        """Apply the oldest ``count`` legs of the inbox, all of them by default."""
        count = len(self.inbox) if count is None else count
        taken, self.inbox = self.inbox[:count], self.inbox[count:]
        for leg in taken:
            self.legs.append(leg)
            self.applied += 1
            outcome = self.cpus[leg[3]].accept(leg[2])
            if outcome is not Outcome.DELIVERED:
                self.outcomes.append(OutcomeRun(self.applied, 1, outcome))

    def push(self) -> None:
        """Report everything so far in one frame."""
        frame = UpFrame(
            events=self.events,
            applied=self.applied,
            outcomes=self.outcomes,
            accounts=[cpu.account() for cpu in self.cpus],
            replies=self.replies,
        )
        self.events, self.outcomes, self.replies = [], [], []
        self.bus.receive(self.session, self.link.stamp(frame))
        if self.bus.unmade:
            self.bus.go_on()

    def die(self, reason: str = "killed") -> None:
        self.bus.detach(self.session, reason)

    def send(self, **content: Any) -> None:
        """A frame with exactly this content, however wrong."""
        content.setdefault("applied", self.applied)
        self.bus.receive(self.session, self.link.stamp(UpFrame(**content)))


class Wire:
    """A bus and its peers; ``instances`` is a tuple of APIC id tuples, ids from 0."""

    def __init__(
        self,
        *instances: tuple[int, ...],
        policy: Policy | None = None,
        arbitration: Arbitration = "ppr",
        sink: Callable[[Any], None] | None = None,
    ) -> None:
        self.bus = ApicBus(epoch=7, policy=policy or Policy.bare_metal(), arbitration=arbitration)
        self.bus.watch(sink)
        self._born = 0
        self.peers = [self.attach(number, ids) for number, ids in enumerate(instances)]

    def hello(self, instance_id: int, apic_ids: tuple[int, ...], **changes: Any) -> Hello:
        self._born += 1
        values: dict[str, Any] = {
            "wire_version": WIRE_VERSION,
            "instance_id": instance_id,
            "name": f"kernel{instance_id}",
            "incarnation": self._born.to_bytes(16, "big"),
            "pid": 1000 + self._born,
            "cpus": tuple(
                CpuAddress(
                    cpu, apic_id, ApicMode.X2APIC, apic_id & 0xFF, x2apic_ldr(apic_id), 0, True
                )
                for cpu, apic_id in enumerate(apic_ids)
            ),
        }
        return Hello(**(values | changes))

    def attach(self, instance_id: int, apic_ids: tuple[int, ...]) -> Peer:
        return Peer(self.bus, self.hello(instance_id, apic_ids))

    def settle(self) -> None:
        """Exchange frames until nobody has anything more."""
        moved = True
        while moved:
            moved = self.bus.unmade
            if moved:
                self.bus.go_on()
            for peer in self.peers:
                if not peer.session.alive:
                    continue
                while peer.pull():
                    moved = True
                if peer.inbox or peer.events or peer.replies:
                    peer.answer()
                    peer.push()
                    moved = True

    def wait_until(self, now_us: int) -> None:
        """Time passes, and the bus looks as often as it asks for."""
        while (due := self.bus.deadline_us) is not None and due < now_us:
            self.bus.advance(due)
        self.bus.advance(now_us)

    def inject(self, word: int, count: int = 1, *, seq: int = 1, **changes: Any) -> Any:
        values: dict[str, Any] = {
            "client_id": b"client----------",
            "first_seq": seq,
            "word": word,
            "count": count,
            "resolved_below": 1,
            "on_done": lambda tally: None,
        }
        return self.bus.inject(**(values | changes))


@pytest.fixture(scope="session")
def machine() -> type[Wire]:
    """The class of small machines: ``machine((0, 1), (2,))`` has two instances."""
    return Wire
