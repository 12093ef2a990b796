"""What a client asks of a kernel: each command, its reply, and what is wrong with a bad one."""

import pytest

from mkrpc.errors import InvalidArgumentError, error_for_reason
from mkrpc.instance import instructions as ins
from mkrpc.instance.commands import MAX_LOG_REPLY_BYTES, MAX_WAITING_COMMANDS
from mkrpc.instance.kernel import KernelConfig
from mkrpc.instance.memory import PageFault, SharedMemory
from mkrpc.instance.procfs import proc_interrupts, proc_stat
from mkrpc.link.frames import Command, CommandKind, Reply, ResolvedRun, SettledWrite, Writes
from mkrpc.link.source import WRITE_WINDOW
from mkrpc.outcome import Outcome
from mkrpc.x86.apic_policy import ApicPolicy
from mkrpc.x86.icr import Shorthand, fixed, init_assert, shorthand_word, startup
from mkrpc.x86.lapic import ApicMode
from mkrpc.x86.registers import IA32_APIC_BASE

RING = fixed(1, 0xEA)


def ask(kernel, kind, **fields):
    return kernel.execute(Command(7, CommandKind[kind], **fields))


def refused(reply, reason):
    """The reply is an error of this reason, with one line and advice that means something."""
    assert reply is not None
    assert reply.reason == reason
    assert error_for_reason(reason).reason == reason
    assert reply.error
    assert "\n" not in reply.error
    return True


def test_write_icr_makes_the_cpu_write_and_names_its_command(kernel):
    reply = ask(kernel, "WRITE_ICR", cpu=1, word=RING, count=3)
    assert reply == Reply(7, written=3)
    assert kernel.events == [Writes(1, 1, [RING] * 3, 7)]
    kernel.cpus[1].write_icr(RING)
    assert kernel.events[1:] == [Writes(1, 4, [RING])]


def test_a_write_to_itself_is_taken_before_the_next_one(kernel):
    word = shorthand_word(Shorthand.SELF, 0xEA)
    ask(kernel, "WRITE_ICR", cpu=1, word=word, count=3)
    assert kernel.cpus[1].multikernel_count == 3
    assert [event.outcome for event in kernel.events] == [Outcome.DELIVERED] * 3
    assert {event.command for event in kernel.events} == {7}


def test_what_a_handler_writes_meanwhile_is_not_the_command_s(kernel):
    kernel.register_handler(lambda cpu: cpu.write_icr(fixed(9, 0x41)))
    ask(kernel, "WRITE_ICR", cpu=1, word=shorthand_word(Shorthand.SELF, 0xEA), count=1)
    settled, answer = kernel.events
    assert isinstance(settled, SettledWrite)
    assert (settled.command, answer.command) == (7, 0)


@pytest.mark.rule("R20")
@pytest.mark.parametrize("icr_busy", ["queue", "drop"])
def test_write_icr_waits_while_delivery_status_is_busy(make_kernel, icr_busy):
    kernel = make_kernel(mode=ApicMode.XAPIC, apic_policy=ApicPolicy(icr_busy=icr_busy))
    kernel.cpus[0].write_icr(RING)
    assert ask(kernel, "WRITE_ICR", cpu=0, word=RING, count=2) is None
    assert kernel.source.written == 1
    assert ask(kernel, "WRITE_ICR", cpu=1, word=RING, count=1) == Reply(7, written=1)
    for first, written, replies in ((1, 3, []), (3, 4, [Reply(7, written=2)])):
        kernel.source.resolve([ResolvedRun(first, first)])
        kernel.resume_commands()
        assert (kernel.source.written, kernel.take_replies()) == (written, replies)


@pytest.mark.rule("R20")
def test_write_icr_waits_at_the_window_and_answers_later(kernel):
    assert ask(kernel, "WRITE_ICR", cpu=1, word=RING, count=WRITE_WINDOW + 10) is None
    assert kernel.source.written == WRITE_WINDOW
    assert ask(kernel, "READ_LOG") is not None  # not behind it
    kernel.source.resolve([ResolvedRun(1, 4)])
    kernel.resume_commands()
    assert kernel.source.written == WRITE_WINDOW + 4
    assert kernel.take_replies() == []
    kernel.source.resolve([ResolvedRun(5, WRITE_WINDOW)])
    kernel.resume_commands()
    assert kernel.take_replies() == [Reply(7, written=WRITE_WINDOW + 10)]
    assert kernel.take_replies() == []


def test_a_fence_does_not_wait_for_what_is_not_done_yet(kernel):
    """It asks for what this instance did; what a command has still to write is not done."""
    assert ask(kernel, "WRITE_ICR", cpu=1, word=RING, count=WRITE_WINDOW + 1) is None
    assert ask(kernel, "FENCE") == Reply(7)


@pytest.mark.rule("R20")
def test_a_command_waits_for_those_of_its_own_cpu_alone(kernel):
    assert ask(kernel, "WRITE_ICR", cpu=1, word=RING, count=WRITE_WINDOW + 10) is None
    behind = Command(8, CommandKind.WRITE_ICR, cpu=1, word=RING, count=1)
    assert kernel.execute(behind) is None
    assert ask(kernel, "WRITE_ICR", cpu=0, word=RING, count=100) == Reply(7, written=100)
    kernel.source.resolve([ResolvedRun(1, WRITE_WINDOW)])
    kernel.resume_commands()
    assert kernel.take_replies() == [Reply(7, written=WRITE_WINDOW + 10), Reply(8, written=1)]
    assert ask(kernel, "WRITE_ICR", cpu=1, word=RING, count=1) == Reply(7, written=1)


@pytest.mark.rule("R20")
def test_commands_of_several_cpus_go_on_as_their_own_writes_are_resolved(kernel):
    assert ask(kernel, "WRITE_ICR", cpu=1, word=RING, count=2 * WRITE_WINDOW) is None
    hung = kernel.source.written
    second = Command(8, CommandKind.WRITE_ICR, cpu=0, word=RING, count=WRITE_WINDOW)
    assert kernel.execute(second) is None
    kernel.source.resolve([ResolvedRun(hung + 1, kernel.source.written)])
    kernel.resume_commands()
    assert kernel.take_replies() == [Reply(8, written=WRITE_WINDOW)]


def test_no_more_than_so_many_commands_wait(kernel):
    ask(kernel, "WRITE_ICR", cpu=1, word=RING, count=WRITE_WINDOW + 1)
    for _ in range(MAX_WAITING_COMMANDS - 1):
        assert ask(kernel, "WRITE_ICR", cpu=1, word=RING, count=1) is None
    assert refused(ask(kernel, "WRITE_ICR", cpu=1, word=RING, count=1), "LIMIT_REACHED")
    assert ask(kernel, "WRITE_ICR", cpu=0, word=RING, count=1) == Reply(7, written=1)


def test_a_cpu_that_can_no_longer_execute_ends_its_command_with_what_was_written(kernel):
    ask(kernel, "WRITE_ICR", cpu=1, word=RING, count=WRITE_WINDOW + 1)
    kernel.accept(1, init_assert(1))
    kernel.source.resolve([ResolvedRun(1, WRITE_WINDOW)])
    kernel.resume_commands()
    (reply,) = kernel.take_replies()
    assert refused(reply, "WRONG_STATE")
    assert reply.written == WRITE_WINDOW


@pytest.mark.parametrize(
    ("kind", "fields", "reason"),
    [
        ("WRITE_ICR", {"cpu": 2, "word": RING, "count": 1}, "NOT_FOUND"),
        ("WRITE_ICR", {"cpu": 1, "word": RING, "count": 0}, "INVALID_ARGUMENT"),
        ("WRITE_ICR", {"cpu": 1, "word": RING, "count": 10**6 + 1}, "INVALID_ARGUMENT"),
        ("WRITE_ICR", {"cpu": 1, "word": 1 << 20, "count": 1}, "INVALID_ARGUMENT"),
        ("SET_CPU", {"cpu": 2, "action": "if=0"}, "NOT_FOUND"),
        ("SET_CPU", {"cpu": 1, "action": ""}, "INVALID_ARGUMENT"),
        ("SET_CPU", {"cpu": 1, "action": "if=2"}, "INVALID_ARGUMENT"),
        ("SET_CPU", {"cpu": 1, "action": "tpr=256"}, "INVALID_ARGUMENT"),
        ("SET_CPU", {"cpu": 1, "action": "if=0 cr3=1"}, "INVALID_ARGUMENT"),
        ("SET_CPU", {"cpu": 1, "action": "if"}, "INVALID_ARGUMENT"),
        ("READ_CPU", {"cpu": 2}, "NOT_FOUND"),
        ("READ_PROC", {"action": "meminfo"}, "INVALID_ARGUMENT"),
    ],
)
def test_a_command_that_cannot_be_is_refused_and_changes_nothing(kernel, kind, fields, reason):
    assert refused(ask(kernel, kind, **fields), reason)
    assert kernel.events == []
    assert kernel.cpus[1].interrupts_enabled


def test_a_disabled_apic_cannot_write(kernel):
    kernel.cpus[1].wrmsr(IA32_APIC_BASE, 0xFEE00000)
    assert refused(ask(kernel, "WRITE_ICR", cpu=1, word=RING, count=1), "WRONG_STATE")


def test_set_cpu_changes_if_without_a_shadow(kernel):
    reply = ask(kernel, "SET_CPU", cpu=1, action="if=0")
    assert (reply.error, reply.cpus[0].account.interrupts_enabled) == ("", False)
    for _ in range(3):
        kernel.accept(1, RING)
    assert kernel.cpus[1].multikernel_count == 0
    reply = ask(kernel, "SET_CPU", cpu=1, action="if=1")
    assert (reply.error, reply.cpus[0].account.multikernel) == ("", 1)
    assert kernel.cpus[1].multikernel_count == 1


def test_set_cpu_halts_and_wakes(kernel):
    cpu = kernel.cpus[1]
    ask(kernel, "SET_CPU", cpu=1, action="if=0 hlt=1 tpr=0x20")
    assert (cpu.activity, cpu.apic.tpr) == ("halted", 0x20)
    assert refused(ask(kernel, "WRITE_ICR", cpu=1, word=RING, count=1), "WRONG_STATE")
    ask(kernel, "SET_CPU", cpu=1, action="hlt=0 if=1")
    assert cpu.activity == "idle"
    ask(kernel, "SET_CPU", cpu=1, action="hlt=1")
    assert cpu.activity == "halted"
    kernel.accept(1, RING)
    assert cpu.activity == "idle"


@pytest.mark.parametrize("ended", ["waits for SIPI", "panicked"])
def test_a_cpu_that_is_gone_is_not_set(kernel, ended):
    if ended == "panicked":
        kernel.panic(kernel.cpus[0], "for the test")
    else:
        kernel.accept(1, init_assert(1))
    assert refused(ask(kernel, "SET_CPU", cpu=1, action="if=1"), "WRONG_STATE")
    assert refused(ask(kernel, "WRITE_ICR", cpu=1, word=RING, count=1), "WRONG_STATE")
    assert ask(kernel, "READ_CPU", cpu=1).cpus[0].account.interrupts_enabled is False


def test_read_cpu_shows_registers_and_account(kernel):
    kernel.accept(1, RING)
    kernel.cpus[1].execute(ins.Cli())
    kernel.accept(1, fixed(1, 0x41))
    (view,) = ask(kernel, "READ_CPU", cpu=1).cpus
    assert (view.apic_id, view.mode) == (1, ApicMode.X2APIC)
    expected = {"ID": 1, "TPR": 0x10, "PPR": 0x10, "SVR": 0x1FF, "LDR": 2, "LVT_ERROR": 0x100FE}
    assert view.registers.items() >= expected.items()
    account = view.account
    assert (account.irr, account.isr, account.multikernel) == (1 << 0x41, 0, 1)
    assert [(row.vector, row.delivered, row.eoi) for row in account.vectors] == [
        (0x41, 1, 0),
        (0xEA, 1, 1),
    ]


def test_an_xapic_shows_its_registers_raw(make_kernel):
    kernel = make_kernel(mode=ApicMode.XAPIC)
    (view,) = ask(kernel, "READ_CPU", cpu=1).cpus
    assert (view.registers["ID"], view.registers["LDR"]) == (1 << 24, 2 << 24)


def test_read_account_is_of_all_cpus_or_of_some(make_kernel):
    kernel = make_kernel(5)
    numbers = [view.account.cpu for view in ask(kernel, "READ_ACCOUNT").cpus]
    assert numbers == [0, 1, 2, 3, 4]
    some = [view.account.cpu for view in ask(kernel, "READ_ACCOUNT", cpu=1, count=2).cpus]
    assert some == [1, 2]


def test_read_log_is_bounded_and_goes_on_from_a_number(kernel):
    for number in range(1000):
        kernel.cpus[1].printk(f"{number} " + "x" * 900, 4)
    seen, first = [], 1
    while True:
        reply = ask(kernel, "READ_LOG", count=first)
        assert sum(len(record.text) for record in reply.records) < MAX_LOG_REPLY_BYTES
        assert reply.records_dropped == 0
        if not reply.records:
            break
        seen += reply.records
        first = seen[-1].number + 1
    assert [record.number for record in seen] == list(range(1, 1001))
    assert seen[0] == (1, 4, 1_374_792, 1, "0 " + "x" * 900)


def test_read_proc(kernel):
    assert ask(kernel, "READ_PROC", action="interrupts").text == proc_interrupts(kernel)
    assert ask(kernel, "READ_PROC", action="stat").text == proc_stat(kernel)


@pytest.mark.parametrize(
    "settings",
    [
        {"instance_id": 512},
        {"instance_id": -1},
        {"apic_ids": ()},
        {"apic_ids": tuple(range(513))},
        {"apic_ids": (1, 1)},
        {"apic_ids": (0xFFFFFFFF,)},
        {"apic_ids": (0xFF,), "mode": ApicMode.XAPIC},
        {"initial_tpr": 256},
    ],
)
def test_a_kernel_that_cannot_be_is_refused(settings):
    given = {"instance_id": 1, "name": "one", "apic_ids": (0,)} | settings
    with pytest.raises(InvalidArgumentError):
        KernelConfig(**given)


def test_restarted_by_sipi_a_cpu_publishes_its_address_again(make_kernel):
    kernel = make_kernel(mode=ApicMode.XAPIC)
    kernel.accept(1, init_assert(1))
    assert [(event.cpu, event.ldr) for event in kernel.events] == [(1, 0)]
    kernel.accept(1, startup(1, 8))
    assert len(kernel.events) == 1


@pytest.mark.parametrize("size", [1, 2, 4, 8])
def test_shared_memory_loads_what_was_stored(size):
    memory = SharedMemory(bytearray(32))
    memory.store(16, 0x1122334455667788, size)
    assert memory.load(16, size) == 0x1122334455667788 & ((1 << 8 * size) - 1)
    assert memory.load(24, 8) == 0
    assert len(memory) == 32


@pytest.mark.parametrize(
    ("address", "size"), [(32, 1), (-8, 8), (1, 2), (4, 8), (0, 3), (0, 16), (31, 2)]
)
def test_shared_memory_refuses_what_is_not_there_or_not_aligned(address, size):
    memory = SharedMemory(bytearray(32))
    with pytest.raises(PageFault):
        memory.load(address, size)
    with pytest.raises(PageFault):
        memory.store(address, 0, size)


def test_shared_memory_needs_room_for_a_word():
    with pytest.raises(InvalidArgumentError):
        SharedMemory(bytearray(7))
