"""The instance's end of its link: what it answers, remembers and reports (design 3.1 to 3.4)."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mkrpc.errors import ProtocolError
from mkrpc.instance import instructions as ins
from mkrpc.instance.accounting import assert_books, whole_account
from mkrpc.instance.attachment import Attachment
from mkrpc.instance.kernel import Kernel, KernelConfig
from mkrpc.link import memory
from mkrpc.link.frames import (
    MAX_FRAME_WORDS,
    WIRE_VERSION,
    DownFrame,
    Legs,
    OutcomeRun,
    ResolvedRun,
    SourceFloor,
    Welcome,
)
from mkrpc.link.memory import MAX_REMEMBERED_PER_SOURCE
from mkrpc.outcome import Outcome
from mkrpc.x86.icr import fixed
from mkrpc.x86.lapic import ApicMode

RING = fixed(1, 0xEA)
SOURCE, OTHER = b"s" * 16, b"o" * 16


def test_hello_says_who_it_is_and_where_its_cpus_are(kernel):
    hello = Attachment(kernel).hello(42)
    assert (hello.wire_version, hello.instance_id, hello.name) == (WIRE_VERSION, 1, "one")
    assert (hello.incarnation, hello.pid) == (kernel.incarnation, 42)
    assert [(cpu.cpu, cpu.apic_id, cpu.mode, cpu.ldr) for cpu in hello.cpus] == [
        (0, 0, ApicMode.X2APIC, 1),
        (1, 1, ApicMode.X2APIC, 2),
    ]


def test_a_welcome_in_another_version_is_refused(kernel):
    attachment = Attachment(kernel)
    attachment.hello(42)
    attachment.welcome(Welcome(WIRE_VERSION, 77, 1))
    assert (attachment.epoch, attachment.generation) == (77, 1)
    with pytest.raises(ProtocolError, match=str(WIRE_VERSION + 1)):
        attachment.welcome(Welcome(WIRE_VERSION + 1, 77, 1))


def test_the_first_frame_has_the_account_of_every_cpu_and_then_there_is_silence(kernel, peer):
    (frame,) = peer.drain()
    assert [account.cpu for account in frame.accounts] == [0, 1]
    assert peer.drain() == []


def test_delivered_legs_are_a_number_and_others_are_runs(kernel, peer):
    peer.drain()
    kernel.cpus[1].execute(ins.Cli())
    peer.send_legs(*((seq, RING, 1) for seq in range(1, 6)))
    (frame,) = peer.drain()
    assert frame.applied == 5
    assert frame.outcomes == [OutcomeRun(2, 4, Outcome.COALESCED)]
    assert [account.cpu for account in frame.accounts] == [1]
    peer.assert_mirror_is(kernel)


def test_runs_of_different_outcomes(kernel, peer):
    words = [RING, fixed(1, 5), fixed(1, 6), RING | 0x300, RING]
    peer.send_legs(*((seq, word, 1) for seq, word in enumerate(words, 1)), (6, RING, 9))
    peer.drain()
    assert peer.all_outcomes() == [
        Outcome.DELIVERED,
        Outcome.REJECTED_ILLEGAL_VECTOR,
        Outcome.REJECTED_ILLEGAL_VECTOR,
        Outcome.REJECTED_RESERVED_MODE,
        Outcome.DELIVERED,
        Outcome.REJECTED_MALFORMED,
    ]


def test_with_boundary_frame_interrupts_are_taken_when_the_frame_is_in(make_kernel, new_peer):
    kernel = make_kernel(boundary="frame")
    peer = new_peer(kernel)
    peer.send_legs((1, RING, 1), (2, RING, 1))
    assert kernel.cpus[1].multikernel_count == 1
    peer.send_legs((3, RING, 1))
    peer.drain()
    assert peer.all_outcomes() == [Outcome.DELIVERED, Outcome.COALESCED, Outcome.DELIVERED]


def test_a_repeated_leg_has_the_recorded_outcome_and_is_not_applied(kernel, peer):
    """Rule 2 of design 3.3: the outcome is remembered, not only the number."""
    kernel.cpus[1].execute(ins.Cli())
    peer.send_legs((1, RING, 1), (2, RING, 1))
    kernel.cpus[1].execute(ins.Sti())
    kernel.cpus[1].execute(ins.Nop())
    assert kernel.cpus[1].multikernel_count == 1
    peer.send_legs((1, RING, 1), (2, RING, 1), (3, RING, 1))
    peer.drain()
    delivered, coalesced = Outcome.DELIVERED, Outcome.COALESCED
    assert peer.all_outcomes() == [delivered, coalesced, delivered, coalesced, delivered]
    assert kernel.cpus[1].multikernel_count == 2


def test_the_same_number_of_another_source_or_to_another_cpu_is_another_leg(kernel, peer):
    peer.send_legs((1, RING, 1), (1, RING, 0))
    peer.send_legs((1, RING, 1), source=OTHER)
    assert [cpu.multikernel_count for cpu in kernel.cpus] == [1, 2]


def test_what_a_source_has_published_is_forgotten_and_not_applied_again(kernel, peer):
    peer.send_legs((1, RING, 1), (2, RING, 1))
    peer.send(floors=[SourceFloor(SOURCE, (ResolvedRun(1, 1),))])
    assert kernel.outcomes.remembered(SOURCE) == 1
    peer.send_legs((1, RING, 1), (2, RING, 1))
    peer.drain()
    assert peer.outcomes == {3: Outcome.REJECTED_MALFORMED}
    assert kernel.cpus[1].multikernel_count == 2
    assert kernel.outcomes.remembered(SOURCE) == 1


def test_outcomes_outlive_the_link(kernel, peer, new_peer):
    """A write repeated over another link is answered from memory (design 3.3, rule 2)."""
    peer.send_legs((1, RING, 1), (2, fixed(1, 5), 1))
    later = new_peer(kernel)
    later.send_legs((1, RING, 1), (2, fixed(1, 5), 1), (3, RING, 1))
    later.drain()
    assert later.outcomes == {2: Outcome.REJECTED_ILLEGAL_VECTOR}
    assert kernel.cpus[1].multikernel_count == 2


def test_a_leg_to_a_cpu_that_is_not_there_leaves_nothing_behind(kernel, peer):
    peer.send_legs(*((1, RING, cpu) for cpu in (2, 512, 1 << 31)))
    peer.drain()
    assert set(peer.outcomes.values()) == {Outcome.REJECTED_MALFORMED}
    assert (peer.applied, kernel.outcomes.remembered(SOURCE)) == (3, 0)


def test_a_source_that_never_publishes_is_refused_in_the_end(kernel, peer):
    legs = [(seq, RING, 0) for seq in range(1, MAX_REMEMBERED_PER_SOURCE + 2)]
    for first in range(0, len(legs), MAX_FRAME_WORDS):
        peer.send_legs(*legs[first : first + MAX_FRAME_WORDS])
    peer.send_legs((1, RING, 0), source=OTHER)
    peer.drain()
    assert peer.outcomes == {MAX_REMEMBERED_PER_SOURCE + 1: Outcome.REJECTED_BACKPRESSURE}
    assert kernel.cpus[0].multikernel_count == MAX_REMEMBERED_PER_SOURCE + 1


def test_a_broadcast_is_refused_to_all_cpus_or_to_none(kernel, peer, monkeypatch):
    """The limit counts writes: the second leg of one that is remembered always fits."""
    monkeypatch.setattr(memory, "MAX_REMEMBERED_PER_SOURCE", 1)
    peer.send_legs((1, RING, 0), (1, RING, 1), (2, RING, 0), (2, RING, 1))
    peer.drain()
    refused = Outcome.REJECTED_BACKPRESSURE
    assert peer.all_outcomes() == [Outcome.DELIVERED] * 2 + [refused] * 2


def test_a_repeated_frame_changes_nothing(kernel, peer):
    frame = peer.send_legs((1, RING, 1))
    peer.attachment.receive(frame)
    peer.drain()
    assert peer.applied == 1


@pytest.mark.parametrize(
    "frame",
    [
        pytest.param(DownFrame(frame=2), id="gap"),
        pytest.param(DownFrame(frame=1, ack=9), id="acknowledges what was not sent"),
        pytest.param(DownFrame(frame=1, resolved=[ResolvedRun(1, 1)]), id="resolves the unwritten"),
        pytest.param(DownFrame(frame=1, legs=[Legs(SOURCE, [1, 2], [RING], [1])]), id="columns"),
    ],
)
def test_a_frame_against_the_protocol_is_refused_whole(kernel, peer, frame):
    frame.legs = [*frame.legs, Legs(SOURCE, [1], [RING], [1])]
    with pytest.raises(ProtocolError):
        peer.attachment.receive(frame)
    assert kernel.cpus[1].multikernel_count == 0


_WORDS = st.sampled_from(
    [RING, fixed(1, 0x41), fixed(1, 0x4F), fixed(1, 5), fixed(1, 0xFF), RING | 0x400, RING | 0x300]
)
_LEGS = st.lists(st.tuples(_WORDS, st.integers(0, 2), st.booleans()), max_size=40)


def play(new_peer, legs, cuts, answers):
    """Send ``legs`` cut into frames before the indices in ``cuts``, some of them twice."""
    config = KernelConfig(instance_id=1, name="one", apic_ids=(0, 1))
    kernel = Kernel(config, incarnation=bytes(16), now_us=lambda: 0)
    if answers:
        kernel.register_handler(lambda cpu: cpu.write_icr(fixed(9, 0x55)))
    kernel.cpus[0].execute(ins.Cli())
    peer = new_peer(kernel)
    batch = []
    firsts = []
    number = 0
    for index, (word, cpu, repeat) in enumerate(legs):
        if index in cuts and batch:
            peer.send_legs(*batch)
            peer.drain()
            batch = []
        for again in (False, True)[: 1 + repeat]:
            number += 1
            batch.append((index + 1, word, cpu))
            if not again:
                firsts.append(number)
    peer.send_legs(*batch)
    peer.drain()
    assert_books(kernel)
    peer.assert_mirror_is(kernel)
    assert peer.applied == number
    outcomes = peer.all_outcomes()
    for (_, _, repeat), first in zip(legs, firsts, strict=True):
        assert not repeat or outcomes[first] == outcomes[first - 1]
    written = [word for event in peer.events for word in event.words]
    accounts = [whole_account(cpu) for cpu in kernel.cpus]
    log = [record[1:] for record in kernel.log.since(1)]
    return [outcomes[first - 1] for first in firsts], accounts, log, written


@settings(max_examples=settings().max_examples * 3 // 5)
@given(legs=_LEGS, cuts=st.sets(st.integers(0, 40)), answers=st.booleans())
def test_framing_and_repetition_change_no_outcome_and_no_count(new_peer, legs, cuts, answers):
    """Design 3.6: an idle CPU takes an interrupt after every single word, however words came."""
    one_by_one = play(
        new_peer, [(word, cpu, False) for word, cpu, _ in legs], set(range(41)), answers
    )
    assert play(new_peer, legs, cuts, answers) == one_by_one
    assert play(new_peer, legs, set(), answers) == one_by_one
