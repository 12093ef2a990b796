"""Design 3.5: faults of links change nothing but time. The same work, with them and without, over
real kernels, attachments and the real bus in virtual time, ends in the same books."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mkrpc.fault import MIN_PERIOD_US, Direction, Fault, FaultKind
from mkrpc.frame_codec import decode_down, decode_up, encode_down, encode_up
from mkrpc.instance.accounting import whole_account
from mkrpc.instance.attachment import Attachment
from mkrpc.instance.kernel import Kernel, KernelConfig
from mkrpc.interconnect.apic_bus import ApicBus
from mkrpc.interconnect.faulty_link import FaultyLink, Late
from mkrpc.interconnect.policy import Policy
from mkrpc.link.frames import Hello, Welcome
from mkrpc.x86.icr import Shorthand, fixed, shorthand_word

STEP_US = 5_000
LEASE_US = 3_000_000
AWAY_US = 20_000
"""From the end of a stream to the hello over the next one."""

UP, DOWN = Direction.UP, Direction.DOWN


class Node:
    """One instance, and the stream that it has now."""

    def __init__(self, world: "World", number: int) -> None:
        self.world = world
        self.number = number
        config = KernelConfig(instance_id=number, name=f"k{number}", apic_ids=(number,))
        self.kernel = Kernel(
            config, incarnation=bytes([number + 1]) * 16, now_us=lambda: world.now_us
        )
        self.attachment = Attachment(self.kernel)
        self.late = Late()
        self.back_us = 0
        self.streams = 0
        self.stream: FaultyLink | None = None
        self.session: Any = None
        self.generation = 0

    def step(self) -> None:
        world, attachment = self.world, self.attachment
        attachment.advance(world.now_us)
        if self.stream is None:
            if world.now_us < self.back_us:
                return
            self.stream = FaultyLink(world.bus.faults, self.number, self.late)
            self.streams += 1
            self.stream.put(UP, encode_up(attachment.hello(pid=1)), 0)
        self.kernel.advance(64)
        while attachment.connected and (up := attachment.next_frame()) is not None:
            self.stream.put(UP, encode_up(up), up.frame)
        self.stream.advance()
        while (message := self.stream.take(UP)) is not None:
            self.up(decode_up(message))
        while self.generation and (down := world.bus.next_frame(self.session)) is not None:
            self.stream.put(DOWN, encode_down(down), down.frame)
        while (message := self.stream.take(DOWN)) is not None:
            said = decode_down(message)
            if isinstance(said, Welcome):
                attachment.welcome(said)
            else:
                attachment.receive(said, attachment.generation)
        if self.stream.cut or attachment.stalled:
            if self.generation:
                world.bus.disconnect(self.session, self.generation)
            attachment.disconnected()
            self.stream, self.generation = None, 0
            self.back_us = world.now_us + AWAY_US

    def up(self, message: Any) -> None:
        if isinstance(message, Hello):
            self.session = self.world.bus.attach(message)
            self.generation = self.session.generation
            self.stream.put(DOWN, encode_down(self.world.bus.welcome(self.session)), 0)
        else:
            self.world.bus.receive(self.session, message, self.generation)


class World:
    """Three instances that ring each other, a client that rings them all."""

    def __init__(self, faults: list[Fault]) -> None:
        self.now_us = 0
        self.bus = ApicBus(epoch=1, policy=Policy.bare_metal(), lease_us=LEASE_US)
        self.nodes = [Node(self, number) for number in range(3)]
        self.open = 0
        for _ in range(3):
            self.step()
        self.begun = [self.bus.set_fault(fault) for fault in faults]
        for round_ in range(12):
            for source in range(3):
                self.ring(source, fixed((source + 1) % 3, 0x41 + round_), count=7)
            self.ring(round_ % 3, shorthand_word(Shorthand.ALL_INCLUDING_SELF, 0xEA))
            self.inject(fixed(round_ % 3, 0xEA), first_seq=1 + round_ * 5, count=5)
            for _ in range(8):
                self.step()
        for active in self.bus.faults:
            self.bus.clear_fault(active.number)
        for _ in range(400):
            self.step()
        assert (self.open, self.bus.in_flight()) == (0, 0), "everything has its outcome"

    def step(self) -> None:
        self.now_us += STEP_US
        self.bus.advance(self.now_us)
        for node in self.nodes:
            node.step()

    def ring(self, apic_id: int, word: int, count: int = 1) -> None:
        self.open += 1
        self.bus.write_icr(apic_id=apic_id, word=word, count=count, on_done=self.done)

    def inject(self, word: int, *, first_seq: int, count: int) -> None:
        self.open += 1
        self.bus.inject(
            client_id=b"c" * 16,
            first_seq=first_seq,
            word=word,
            count=count,
            resolved_below=1,
            on_done=self.done,
        )

    def done(self, _tally: Any) -> None:
        self.open -= 1

    def books(self) -> dict[Any, Any]:
        assert self.bus.balance() == []
        for number, node in enumerate(self.nodes):
            accounts = [whole_account(cpu) for cpu in node.kernel.cpus]
            assert self.bus.mirrored(number)[1] == accounts, "the mirror is the instance's own"
        rows = {
            (row.key.source.instance_id, row.key.apic_id, row.key.vector): row.outcomes
            for row in self.bus.ledger
        }
        mirrors = {number: self.bus.mirrored(number) for number in range(3)}
        return rows | {("mirror", number): mirror for number, mirror in mirrors.items()}


@pytest.fixture(scope="module")
def undisturbed() -> dict[Any, Any]:
    world = World([])
    assert [node.streams for node in world.nodes] == [1, 1, 1]
    return world.books()


def kind(name: str, **fields: Any) -> Fault:
    return Fault(kind=FaultKind(name), **fields)


@pytest.mark.parametrize(
    "fault",
    [
        kind("delay", delay_us=60_000, jitter_us=40_000, seed=1),
        kind("delay", delay_us=LEASE_US // 3, direction=UP),
        kind("duplicate"),
        kind("duplicate", share=0.5, seed=2, direction=DOWN),
        kind("reorder", every=2, direction=UP),
        kind("reorder", every=3, direction=DOWN),
        kind("reorder", share=0.3, seed=3),
        kind("partition", for_us=400_000),
        kind("partition", for_us=400_000, direction=UP, instance=1),
        kind("partition", for_us=400_000, direction=DOWN, instance=2),
        kind("flap", period_us=MIN_PERIOD_US),
        kind("flap", period_us=110_000, instance=0),
    ],
    ids=str,
)
def test_each_link_fault_ends_in_the_same_books(fault: Fault, undisturbed: dict[Any, Any]) -> None:
    world = World([fault])
    assert world.books() == undisturbed
    (active,) = world.begun
    assert active.struck > 0 or fault.kind is FaultKind.PARTITION, "it has done something"
    cuts = fault.kind in (FaultKind.FLAP, FaultKind.REORDER)
    assert (max(node.streams for node in world.nodes) > 1) == cuts


FAULTS = st.one_of(
    st.builds(
        Fault,
        kind=st.just(FaultKind.DELAY),
        delay_us=st.integers(1, 200_000),
        jitter_us=st.integers(0, 200_000),
        seed=st.integers(0, 99),
        direction=st.sampled_from(Direction),
    ),
    st.builds(
        Fault,
        kind=st.sampled_from([FaultKind.DUPLICATE, FaultKind.REORDER]),
        every=st.integers(2, 6),
        direction=st.sampled_from(Direction),
        instance=st.sampled_from([None, 0, 1, 2]),
    ),
    st.builds(
        Fault,
        kind=st.just(FaultKind.PARTITION),
        for_us=st.integers(1, 400_000),
        direction=st.sampled_from(Direction),
        instance=st.sampled_from([None, 0, 1, 2]),
    ),
    st.builds(
        Fault,
        kind=st.just(FaultKind.FLAP),
        period_us=st.integers(MIN_PERIOD_US, 200_000),
        instance=st.sampled_from([None, 0, 1, 2]),
    ),
)


@given(faults=st.lists(FAULTS, min_size=1, max_size=4))
@settings(max_examples=25, deadline=None)
def test_any_mixture_of_link_faults_ends_in_the_same_books(
    faults: list[Fault], undisturbed: dict[Any, Any]
) -> None:
    assert World(faults).books() == undisturbed
