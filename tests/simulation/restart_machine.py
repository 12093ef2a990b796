"""A machine whose interconnect can die: instances, what a file would keep of one bus, and the next
one, which takes over."""

from collections import Counter
from typing import Any

from mkrpc.frame_codec import decode_down, decode_up, encode_down, encode_up
from mkrpc.instance.accounting import assert_books, whole_account
from mkrpc.instance.attachment import Attachment
from mkrpc.instance.instructions import WriteRegister
from mkrpc.instance.kernel import Kernel, KernelConfig
from mkrpc.interconnect.apic_bus import ApicBus
from mkrpc.interconnect.lease import LEASE_US
from mkrpc.interconnect.ledger import RowKey
from mkrpc.interconnect.policy import Policy, SourceKind
from mkrpc.interconnect.session import Session
from mkrpc.interconnect.takeover import (
    BookRow,
    CallKey,
    Incarnation,
    KeptCall,
    KeptMirror,
    Takeover,
)
from mkrpc.interconnect.tally import Tally
from mkrpc.interconnect.telling import book_key
from mkrpc.link.lease import BEATS_PER_LEASE
from mkrpc.link.recovery import BookKey
from mkrpc.outcome import Outcome
from mkrpc.trace import TraceEvent
from mkrpc.x86.apic_base import ApicMode
from mkrpc.x86.icr import DeliveryMode, DestinationMode, fixed, icr_word
from mkrpc.x86.registers import Register

CPUS = 2
BEAT_US = -(-LEASE_US // BEATS_PER_LEASE)
CLIENT = b"c" * 16

TO_BOB = fixed(2, 0x41)
TO_BOB_1 = fixed(3, 0x41)
TO_CAROL = fixed(4, 0x41)
ALL_BUT_SELF = 0x000C_0041
LOWEST = icr_word(
    vector=0x41,
    destination=0b111100,
    delivery_mode=DeliveryMode.LOWEST_PRIORITY,
    destination_mode=DestinationMode.LOGICAL,
)
"""To whichever CPU of bob and carol is the least busy."""
TO_LOGICAL_BOB = icr_word(vector=0x41, destination=0b100, destination_mode=DestinationMode.LOGICAL)
"""To whom has bit 2 in LDR: bob's first CPU at first."""


class Keeper:
    """What outlives a bus, as a file would have it. ``lazy``: rows are not kept."""

    def __init__(self, *, lazy: bool = False) -> None:
        self.lazy = lazy
        self.epochs: list[int] = []
        self.alive: dict[bytes, Incarnation] = {}
        self.ended: dict[bytes, Incarnation] = {}
        self.rows: dict[RowKey, BookRow] = {}
        self.client_rows: list[BookRow] = []
        self.calls: dict[CallKey, KeptCall] = {}
        self.mirrors: list[KeptMirror] = []
        self.roster = 0

    def keep(self, bus: ApicBus, *, rows: bool) -> None:
        changes = bus.take_changes(rows=rows and not self.lazy)
        self.roster = changes.roster
        self.alive |= {each.incarnation: each for each in changes.attached}
        for each in changes.ended:
            self.ended[each.incarnation] = each
            self.alive.pop(each.incarnation, None)
        for key in changes.removed:
            self.rows.pop(key, None)
        self.rows |= {row.key: row for row in changes.rows}
        self.client_rows += changes.client_rows
        for called in changes.acknowledged:
            self.client_rows += self.calls.pop(called).booked
        self.calls |= {call.key: call for call in changes.calls}
        self.mirrors += changes.mirrors

    def takeover(self) -> Takeover:
        return Takeover(
            epochs=tuple(self.epochs),
            expected=tuple(self.alive.values()),
            ended=tuple(self.ended.values()),
            roster=self.roster,
            rows=(*self.rows.values(), *self.client_rows),
            calls=tuple(self.calls.values()),
            mirrors=tuple(self.mirrors),
        )


class _NotingKernel(Kernel):
    """Notes what its APICs are really given."""

    def __init__(self, config: KernelConfig, **others: Any) -> None:
        super().__init__(config, **others)
        self.applied: list[tuple[int, int, int]] = []

    def accept(self, cpu: int, word: int) -> Outcome:
        self.applied.append((cpu, word, outcome := super().accept(cpu, word)))
        return outcome


class Instance:
    """One kernel, and the frames between it and whatever bus there is."""

    def __init__(self, machine: "RestartMachine", number: int, life: int = 1) -> None:
        self.machine = machine
        self.number = number
        self.kernel = _NotingKernel(
            KernelConfig(
                instance_id=number,
                name=f"kernel{number}",
                apic_ids=tuple(range(CPUS * number, CPUS * (number + 1))),
                mode=machine.mode,
            ),
            incarnation=bytes([number + 1, life] * 8),
            now_us=lambda: 0,
        )
        self.attachment = Attachment(self.kernel)
        self.session: Session | None = None
        self.applied = self.kernel.applied
        """CPU, word and outcome of each leg that its APICs were really given."""

    @property
    def linked(self) -> bool:
        return self.session is not None and self.attachment.connected

    def come(self, *, welcome: bool = True) -> None:
        """Say hello to the bus there is; the welcome may get lost."""
        bus = self.machine.bus
        self.attachment.disconnected()
        self.attachment.advance(self.machine.now_us)
        self.session = bus.attach(decode_up(encode_up(self.attachment.hello(1))))
        self.machine.keeper.keep(bus, rows=False)
        message = decode_down(encode_down(bus.welcome(self.session)))
        if welcome:
            self.attachment.welcome(message)

    def send(self) -> bool:
        """One frame to the bus."""
        frame = self.attachment.next_frame() if self.linked else None
        if frame is not None:
            self.machine.bus.receive(self.session, decode_up(encode_up(frame)))
        return frame is not None

    def lose_a_frame(self) -> None:
        """One frame is on its way when the bus dies."""
        assert self.attachment.next_frame() is not None

    def fetch(self) -> bool:
        """One frame from the bus."""
        frame = self.machine.bus.next_frame(self.session) if self.linked else None
        if frame is not None:
            self.attachment.receive(decode_down(encode_down(frame)))
        return frame is not None

    def ring(self, word: int, count: int = 1, cpu: int = 0) -> None:
        for _ in range(count):
            self.kernel.publish_write(cpu, word, 0)

    def delivered(self) -> int:
        return sum(1 for _, _, outcome in self.applied if outcome is Outcome.DELIVERED)


class RestartMachine:
    """Instances, and one bus after another."""

    def __init__(
        self, instances: int = 3, *, lazy: bool = False, mode: ApicMode = ApicMode.X2APIC
    ) -> None:
        self.mode = mode
        self.keeper = Keeper(lazy=lazy)
        self.now_us = 0
        self.events: list[TraceEvent] = []
        self.seq = 1
        self._begin(None)
        self.nodes = {number: Instance(self, number) for number in range(instances)}
        for node in self.nodes.values():
            node.come()
        self.beat()

    def beat(self) -> None:
        """Time passes until beats are due: their answers tell the latest roster number."""
        self.wait(self.now_us + BEAT_US)
        for node in self.nodes.values():
            node.attachment.advance(self.now_us)
        self.settle()

    def _begin(self, takeover: Takeover | None) -> None:
        epoch = len(self.keeper.epochs) + 1
        self.bus = ApicBus(epoch=epoch, policy=Policy.named("bare-metal"), takeover=takeover)
        self.bus.watch(self.events.append)
        self.keeper.epochs.append(epoch)
        self.bus.advance(self.now_us)
        self.keeper.keep(self.bus, rows=True)

    def restart(self, *, back: bool = True) -> None:
        """The interconnect dies, with all that is on its way, and another one takes over."""
        takeover = self.keeper.takeover()
        for node in self.nodes.values():
            node.attachment.disconnected()
            node.session = None
        self._begin(takeover)
        if back:
            for node in self.nodes.values():
                node.come()

    def boot(self, number: int, life: int) -> Instance:
        """Another incarnation of an instance."""
        node = self.nodes[number] = Instance(self, number, life)
        node.come()
        return node

    def kill(self, number: int) -> Instance:
        """An instance dies, and the bus, if there is one, hears of it."""
        node = self.nodes.pop(number)
        if node.session is not None:
            self.bus.detach(node.session, "killed")
        self.keeper.keep(self.bus, rows=False)
        return node

    def settle(self) -> None:
        """All moves until nothing moves; then the file is up to date."""
        moved = True
        while moved:
            moved = False
            for node in list(self.nodes.values()):
                moved |= node.send() | node.fetch() | (node.kernel.advance(64) > 0)
        self.keeper.keep(self.bus, rows=True)

    def wait(self, now_us: int) -> None:
        """Time passes at the bus, which looks as often as it asks for."""
        self.now_us = now_us
        while (due := self.bus.deadline_us) is not None and due < now_us:
            self.bus.advance(due)
        self.bus.advance(now_us)

    def inject(self, word: int, count: int = 1, **more: Any) -> Tally:
        first_seq = more.pop("first_seq", self.seq)
        self.seq = max(self.seq, first_seq + count)
        return self.bus.inject(
            client_id=CLIENT,
            first_seq=first_seq,
            word=word,
            count=count,
            resolved_below=more.pop("resolved_below", 1),
            on_done=lambda _: None,
            **more,
        )

    # What must hold once all is quiet.

    def outcomes(self, number: int) -> Counter[Outcome]:
        """How the legs of an instance's writes ended, by the ledger."""
        found: Counter[Outcome] = Counter()
        for row in self.bus.ledger:
            if row.key.source.identity == self.nodes[number].kernel.incarnation:
                found.update(row.outcomes)
        return found

    def check(self) -> None:
        assert self.bus.recovering is None
        assert self.bus.quiet()
        assert not self.bus._recovery._books._kept, "what was kept is used, or of no use any more"
        assert self.bus.balance() == []
        for node in self.nodes.values():
            source = node.kernel.source
            assert_books(node.kernel)
            _, mirrored = self.bus.mirrored(node.number)
            assert mirrored == [whole_account(cpu) for cpu in node.kernel.cpus]
            assert node.session is not None
            assert node.session.highest_seq == source.written
            assert node.session.unsettled == 0
        self.check_source_books()

    def check_source_books(self) -> None:
        """What a source knows is never more than what the ledger has; with what is still to be told
        to it, it is the same."""
        for node in self.nodes.values():
            own = {
                book.key: {e.outcome: e.count for e in book.outcomes}
                for book in node.attachment.books
            }
            booked: dict[BookKey, dict[Outcome, int]] = {}
            for row in self.bus.ledger:
                key = row.key
                if key.source.kind is SourceKind.INSTANCE and (
                    key.source.identity == node.kernel.incarnation
                ):
                    booked[book_key(row)] = dict(row.outcomes)
            assert own.keys() <= booked.keys()
            for book_of, outcomes in own.items():
                for outcome, count in outcomes.items():
                    assert count <= booked[book_of].get(outcome, 0)
            if source_knows_all(node):
                assert own == booked

    def tell_all(self) -> None:
        """Sources learn of everything that is resolved."""
        for node in self.nodes.values():
            node.session._tell_from = 1
            node.session.wake()
        self.settle()


def source_knows_all(node: Instance) -> bool:
    return node.kernel.source.resolved_below == node.kernel.source.written + 1


def play(m: RestartMachine, stage: str) -> None:
    alice, bob = m.nodes[0], m.nodes[1]
    for step in stage:
        match step:
            case "U":
                alice.lose_a_frame()
            case "u":
                while alice.send():
                    pass
            case "D":
                assert m.bus.next_frame(bob.session) is not None
            case "d":
                while bob.fetch():
                    pass
            case "A":
                bob.lose_a_frame()
            case "a":
                while bob.send():
                    pass
            case "T" | "t":
                alice.session._tell_from = 1
                if step == "T":
                    assert m.bus.next_frame(alice.session) is not None
                else:
                    while alice.fetch():
                        pass


def write_ldr(node: Instance, logical: int) -> None:
    """The first CPU takes other logical ids."""
    node.kernel.cpus[0].execute(WriteRegister(Register.LDR, logical << 24))


def had_it(m: RestartMachine) -> dict[int, int]:
    """Legs that each instance was given."""
    return {node.number: len(node.applied) for node in m.nodes.values() if node.applied}
