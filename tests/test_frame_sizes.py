"""No frame that either side can make is beyond what the transport takes.

A frame beyond the limit is an assertion in the sender, which ends its process. So every bound on a
frame's content is tried here at its worst: every number of the longest form, nothing in runs.
"""

import pytest

from mkrpc.errors import InvalidArgumentError
from mkrpc.frame_codec import encode_down, encode_up
from mkrpc.instance.attachment import MAX_FRAME_VECTORS, Attachment
from mkrpc.instance.kernel import Kernel, KernelConfig
from mkrpc.instance.printk import LOG_LINE_MAX
from mkrpc.instance.resending import MAX_FRAME_ARBITRATED
from mkrpc.interconnect.commands import MAX_ACTION
from mkrpc.interconnect.session import MAX_FRAME_COMMANDS, MAX_PENDING_COMMANDS
from mkrpc.interconnect.telling import MAX_FRAME_RUNS
from mkrpc.limits import MAX_CPUS
from mkrpc.link.frames import (
    MAX_FRAME_WORDS,
    MAX_REPLY_VIEWS,
    WIRE_VERSION,
    Command,
    CommandKind,
    CpuAddress,
    DownFrame,
    Hello,
    Legs,
    OutcomeRun,
    ResolvedRun,
    SettledWrite,
    SourceFloor,
    UpFrame,
    Writes,
)
from mkrpc.link.recovery import MAX_FRAME_BOOKS, Arbitrated, BookKey, EndedLegs, SourceBook
from mkrpc.link.source import MAX_PUBLISHED_RUNS
from mkrpc.outcome import Outcome
from mkrpc.transport.stream import MAX_FRAME_BYTES
from mkrpc.x86.apic_base import ApicMode
from mkrpc.x86.irq_stat import FIELDS
from mkrpc.x86.irq_vectors import NR_VECTORS

U32, U64 = (1 << 32) - 1, (1 << 64) - 1
LONG_COUNT = 1 << 56
"""A count that no machine reaches, nine bytes on the wire: a century at ten million a second."""
RUN = ResolvedRun(U64 - 1, U64)


def fits(frame: bytes) -> None:
    assert len(frame) < MAX_FRAME_BYTES


def worn_kernel(cpus: int) -> Kernel:
    """A kernel whose every count of every vector of every CPU is of the longest form."""
    kernel = Kernel(
        KernelConfig(instance_id=1, name="one", apic_ids=tuple(range(cpus))),
        incarnation=b"\x01" * 16,
        now_us=lambda: 0,
    )
    for cpu in kernel.cpus:
        for vector in range(NR_VECTORS):
            row = cpu.books.open(vector)
            row.delivered = row.coalesced = row.handled = row.eoi = row.discarded = LONG_COUNT
        for field in FIELDS:
            setattr(cpu.irq_stat, field, LONG_COUNT)
        cpu.multikernel_count = LONG_COUNT
    return kernel


def frames_of(attachment: Attachment) -> list[UpFrame]:
    """All that it has to say, each frame acknowledged at once."""
    frames = []
    while (frame := attachment.next_frame()) is not None:
        fits(encode_up(frame))
        frames.append(frame)
        attachment.receive(DownFrame(ack=frame.frame))
    return frames


@pytest.mark.parametrize(
    "event",
    [
        Writes(U32, U64, [U64], U64),
        SettledWrite(U32, U64, U64, Outcome.LOST_INTERCONNECT_RESTART_MAYBE_DELIVERED, U64),
        CpuAddress(U32, U32, int(ApicMode.X2APIC), U32, U32, U32, True),
    ],
    ids=lambda event: type(event).__name__,
)
def test_events_outcomes_and_publication_of_one_frame(event):
    frame = UpFrame(
        frame=U64,
        ack=U64,
        more=True,
        events=[event] * MAX_FRAME_WORDS,
        applied=U64,
        outcomes=[OutcomeRun(U64, U32, Outcome.LOST_TARGET_DEAD)] * MAX_FRAME_WORDS,
        resolved=[RUN] * MAX_PUBLISHED_RUNS,
    )
    fits(encode_up(frame))


def test_the_hello_of_the_largest_instance():
    address = CpuAddress(U32, U32, int(ApicMode.X2APIC), U32, U32, U32, True)
    fits(encode_up(Hello(WIRE_VERSION, 511, "n" * 63, bytes(16), U32, (address,) * MAX_CPUS)))


def test_the_whole_accounts_of_512_cpus_go_in_several_frames():
    frames = frames_of(Attachment(worn_kernel(MAX_CPUS)))
    reported = [account.cpu for frame in frames for account in frame.accounts]
    assert reported == list(range(MAX_CPUS))
    assert all(
        sum(len(account.vectors) for account in frame.accounts) < MAX_FRAME_VECTORS + NR_VECTORS
        for frame in frames
    )


def asked(attachment: Attachment, *commands: Command) -> list[UpFrame]:
    """The frames that answer commands, which come in as full frames as may be."""
    frames_of(attachment)
    for number, first in enumerate(range(0, len(commands), MAX_FRAME_COMMANDS), 1):
        batch = commands[first : first + MAX_FRAME_COMMANDS]
        attachment.receive(DownFrame(frame=number, commands=batch))
    return frames_of(attachment)


def test_the_largest_reply_and_accounts_beside_a_full_frame_of_events_and_outcomes():
    """The last frame of a report holds what is left of everything, and then the replies."""
    kernel = worn_kernel(MAX_CPUS)
    worst = frames_of(Attachment(kernel))[0]
    worst.events = [Writes(U32, U64, [U64], U64)] * MAX_FRAME_WORDS
    worst.outcomes = [OutcomeRun(U64, U32, Outcome.LOST_TARGET_DEAD)] * MAX_FRAME_WORDS
    worst.resolved = [RUN] * MAX_PUBLISHED_RUNS
    read = Command(1, CommandKind.READ_ACCOUNT, count=MAX_REPLY_VIEWS)
    (answer,) = asked(Attachment(kernel), read)
    assert len(answer.replies[0].cpus) == MAX_REPLY_VIEWS
    worst.replies = answer.replies
    fits(encode_up(worst))


def test_a_reply_of_more_cpus_than_may_be_is_refused():
    read = Command(1, CommandKind.READ_ACCOUNT, count=MAX_REPLY_VIEWS + 1)
    (answer,) = asked(Attachment(worn_kernel(MAX_REPLY_VIEWS + 1)), read)
    assert answer.replies[0].reason == InvalidArgumentError.reason
    assert answer.replies[0].cpus == []


OPEN = {
    "accounts of many CPUs": (64, CommandKind.READ_ACCOUNT, "", MAX_REPLY_VIEWS),
    "logs": (64, CommandKind.READ_LOG, "", 0),
    "registers": (MAX_PENDING_COMMANDS, CommandKind.READ_CPU, "", 0),
    "settings": (MAX_PENDING_COMMANDS, CommandKind.SET_CPU, "tpr=16", 0),
    "files": (64, CommandKind.READ_PROC, "interrupts", 0),
    "errors": (MAX_PENDING_COMMANDS, CommandKind.READ_PROC, "\U0001f514" * MAX_ACTION, 0),
}


@pytest.mark.parametrize(("number", "kind", "action", "count"), OPEN.values(), ids=OPEN)
def test_the_replies_to_many_commands_at_once_go_in_several_frames(number, kind, action, count):
    """Many clients ask at the same moment; none of them may end the instance by it."""
    kernel = worn_kernel(MAX_CPUS if kind is CommandKind.READ_PROC else MAX_REPLY_VIEWS)
    for _ in range(300):
        kernel.log.emit(6, "\u00e9" * LOG_LINE_MAX, 0)
    commands = [Command(n, kind, count=count, action=action) for n in range(1, number + 1)]
    frames = asked(Attachment(kernel), *commands)
    replies = [reply.command for frame in frames for reply in frame.replies]
    assert replies == list(range(1, number + 1))
    assert sum(bool(frame.replies) for frame in frames) > 1


def test_legs_each_of_another_source_beside_floors_and_commands():
    source = b"\xff" * 16
    frame = DownFrame(
        frame=U64,
        ack=U64,
        floors=[SourceFloor(source, (RUN,))] * MAX_FRAME_RUNS,
        legs=[Legs(source, [U64], [U64], [U32])] * MAX_FRAME_WORDS,
        commands=[Command(U64, CommandKind.FENCE, U32, U64, U64, "\U0001f514" * MAX_ACTION)]
        * MAX_FRAME_COMMANDS,
    )
    fits(encode_down(frame))


WORST_BOOK = SourceBook(
    BookKey(b"\xff" * 16, U32, U32, U32, U32),
    tuple(EndedLegs(outcome, LONG_COUNT) for outcome in Outcome),
)
"""More than a ledger can have: a leg of a row ends in a handful of ways."""


def test_the_books_of_a_source_beside_what_else_a_frame_may_hold():
    fits(
        encode_down(
            DownFrame(
                frame=U64,
                ack=U64,
                roster=U64,
                resolved=[RUN] * MAX_FRAME_RUNS,
                books=[WORST_BOOK] * MAX_FRAME_BOOKS,
            )
        )
    )
    fits(encode_up(UpFrame(frame=U64, ack=U64, beat=U64, books=[WORST_BOOK] * MAX_FRAME_BOOKS)))


def test_arbitrated_writes():
    write = Arbitrated(b"\xff" * 16, U64, U32)
    fits(encode_up(UpFrame(frame=U64, beat=U64, arbitrated=[write] * MAX_FRAME_ARBITRATED)))
