"""What the instance says on its link: events, accounts, replies, acknowledgements (design 3.4)."""

from hypothesis import given
from hypothesis import strategies as st

from mkrpc.instance import instructions as ins
from mkrpc.instance.accounting import AccountReporter
from mkrpc.instance.kernel import FRAME_EVENTS, Kernel, KernelConfig
from mkrpc.link.endpoint import ACK_EVERY, FRAME_WINDOW
from mkrpc.link.frames import (
    MAX_FRAME_WORDS,
    Command,
    CommandKind,
    DownFrame,
    Legs,
    ResolvedRun,
    SettledWrite,
    UpFrame,
    Writes,
)
from mkrpc.link.source import PUBLISH_EVERY, WRITE_WINDOW
from mkrpc.outcome import Outcome
from mkrpc.x86.icr import fixed
from mkrpc.x86.irq_stat import FIELDS

RING = fixed(1, 0xEA)
SOURCE, OTHER = b"s" * 16, b"o" * 16


def test_writes_go_up_in_program_order_and_in_frames_of_bounded_size(kernel, peer):
    cpu = kernel.cpus[0]
    for number in range(FRAME_EVENTS + 10):
        cpu.write_icr(fixed(1, 0x20 + number % 200))
    cpu.self_ipi(0xEA)
    cpu.boundary()
    frames = peer.drain()
    assert [frame.more for frame in frames] == [True, False]
    assert [bool(frame.accounts) for frame in frames] == [False, True]
    words = [word for event in peer.events[:-1] for word in event.words]
    assert words == [fixed(1, 0x20 + n % 200) for n in range(FRAME_EVENTS + 10)]
    seqs = [(event.first_seq, len(event.words)) for event in peer.events[:-1]]
    assert seqs == [(1, FRAME_EVENTS), (FRAME_EVENTS + 1, 10)]
    last = peer.events[-1]
    assert isinstance(last, SettledWrite)
    assert (last.seq, last.outcome) == (FRAME_EVENTS + 11, Outcome.DELIVERED)
    peer.assert_mirror_is(kernel)


def test_outcome_runs_are_bounded_and_applied_never_runs_ahead_of_them(kernel, peer):
    """Peer.apply asserts it: every outcome that a frame names lies within its ``applied``."""
    peer.drain()
    legs = []
    for seq in range(1, 2 * MAX_FRAME_WORDS + 100, 2):
        legs += [(seq, RING, 1), (seq + 1, fixed(1, 5), 1)]
    for first in range(0, len(legs), MAX_FRAME_WORDS):
        peer.send_legs(*legs[first : first + MAX_FRAME_WORDS])
    frames = peer.drain()
    assert [len(frame.outcomes) for frame in frames] == [MAX_FRAME_WORDS, 50]
    assert frames[0].applied == 2 * MAX_FRAME_WORDS + 1
    assert peer.all_outcomes() == [Outcome.DELIVERED, Outcome.REJECTED_ILLEGAL_VECTOR] * (
        MAX_FRAME_WORDS + 50
    )


def test_accounts_of_many_vectors_are_spread_over_frames(make_kernel, new_peer):
    kernel = make_kernel(16, boundary="frame")
    peer = new_peer(kernel)
    seq = 0
    for cpu in kernel.cpus:
        for vector in range(0x20, 0x100):
            seq += 1
            cpu.execute(ins.Cli())
            peer.send_legs((seq, fixed(cpu.number, vector), cpu.number))
            peer.drain() if seq % 16 == 0 else None
    peer.drain()
    fresh = new_peer(kernel)  # a new attachment reports everything again
    frames = fresh.drain()
    assert [frame.more for frame in frames] == [True, False]
    fresh.assert_mirror_is(kernel)
    peer_heads = {cpu: known["head"] for cpu, known in peer.accounts.items()}
    assert peer_heads == {cpu: known["head"] for cpu, known in fresh.accounts.items()}


def test_replies_come_last_with_or_after_the_accounts(kernel, peer):
    peer.drain()
    peer.sent += 1
    columns = Legs(SOURCE, [1], [RING], [1])
    commands = [
        Command(5, CommandKind.WRITE_ICR, cpu=0, word=RING, count=2),
        Command(6, CommandKind.FENCE),
    ]
    peer.attachment.receive(
        DownFrame(frame=peer.sent, ack=peer.received, legs=[columns], commands=commands)
    )
    (frame,) = peer.drain()
    assert [(reply.command, reply.written) for reply in frame.replies] == [(5, 2), (6, 0)]
    assert frame.applied == 1
    assert [event.command for event in frame.events] == [5]
    assert {account.cpu for account in frame.accounts} >= {1}
    peer.assert_mirror_is(kernel)


def test_large_replies_go_in_frames_of_their_own(kernel, peer):
    for _ in range(400):
        kernel.cpus[0].printk("x" * 900)
    peer.send(commands=[Command(n, CommandKind.READ_LOG, count=1) for n in range(1, 4)])
    frames = peer.drain()
    assert [[reply.command for reply in frame.replies] for frame in frames] == [[1], [2], [3]]
    assert [frame.more for frame in frames] == [True, True, False]


def test_a_resolution_lets_a_waiting_command_go_on(kernel, peer):
    count = WRITE_WINDOW + 5
    peer.send(commands=[Command(1, CommandKind.WRITE_ICR, cpu=0, word=RING, count=count)])
    peer.drain()
    assert peer.replies == []
    peer.send(resolved=[ResolvedRun(1, WRITE_WINDOW)])
    peer.drain()
    assert [(reply.command, reply.written) for reply in peer.replies] == [(1, count)]


def test_what_is_resolved_is_published_now_and_then(kernel, peer):
    for _ in range(PUBLISH_EVERY):
        kernel.cpus[0].write_icr(RING)
    peer.drain()
    peer.send(resolved=[ResolvedRun(1, PUBLISH_EVERY - 1)])
    assert all(not frame.resolved for frame in peer.drain())
    peer.send(resolved=[ResolvedRun(PUBLISH_EVERY, PUBLISH_EVERY)])
    (frame,) = peer.drain()
    assert list(frame.resolved) == [ResolvedRun(1, PUBLISH_EVERY)]


def test_acknowledgements_go_alone_when_there_is_nothing_else_to_say(kernel, peer):
    peer.drain()
    for _ in range(ACK_EVERY - 1):
        peer.send()
        assert peer.attachment.next_frame() is None
    peer.send()
    assert peer.attachment.next_frame() == UpFrame(frame=0, ack=ACK_EVERY)
    assert peer.attachment.next_frame() is None


def test_the_frame_window_closes_until_the_peer_acknowledges(kernel, peer):
    attachment = peer.attachment
    for number in range(FRAME_WINDOW):
        kernel.cpus[0].write_icr(RING)
        assert attachment.next_frame().frame == number + 1
    kernel.cpus[0].write_icr(RING)
    assert attachment.next_frame() is None
    attachment.receive(DownFrame(frame=0, ack=1))
    assert attachment.next_frame().events == [Writes(0, FRAME_WINDOW + 1, [RING])]


def test_a_program_that_spins_without_effect_causes_no_frames(kernel, peer):
    def program(cpu):
        while True:
            yield

    kernel.start_program(0, program)
    kernel.advance(5)
    assert len(peer.drain()) == 1
    kernel.advance(50)
    assert peer.drain() == []


def test_stats_are_numbered_by_their_place_in_fields(kernel, peer):
    peer.send_legs((1, RING, 1))
    peer.drain()
    assert peer.accounts[1]["stats"] == {FIELDS.index("irq_call_count"): 1}


@given(st.lists(st.tuples(st.integers(0, 1), st.sets(st.integers(0, len(FIELDS) - 1)))))
def test_the_counters_that_have_changed_are_told_and_no_others(steps):
    """Whichever they are, and whichever they were before."""
    config = KernelConfig(instance_id=1, name="mk1", apic_ids=(4, 5))
    kernel = Kernel(config, incarnation=SOURCE, now_us=lambda: 0)
    reporter = AccountReporter(kernel)
    reporter.take(1 << 20)
    for number, changed in steps:
        cpu = kernel.cpus[number]
        cpu.changed = True
        for field in changed:
            setattr(cpu.irq_stat, FIELDS[field], getattr(cpu.irq_stat, FIELDS[field]) + 1)
        accounts, more = reporter.take(1 << 20)
        counts = cpu.irq_stat.counts()
        told = [(account.cpu, account.stats) for account in accounts]
        assert told == ([(number, {field: counts[field] for field in changed})] if changed else [])
        assert not more
