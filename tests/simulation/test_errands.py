"""What a client has a kernel send: messages, requests, SHUTDOWN on the kernels' own channel."""

from errno import EINVAL, ENODEV, ENOSPC

import pytest

from mkrpc import Topology
from mkrpc.errors import LimitReachedError
from mkrpc.instance import irq_work
from mkrpc.instance.config import kernel_config
from mkrpc.instance.instructions import Cli, Nop
from mkrpc.instance.multikernel import errands
from mkrpc.instance.multikernel.mk_message import MkType, ShutdownPayload, Subtype
from mkrpc.instance.multikernel.requests import SHUTDOWN_TIMEOUT_US
from mkrpc.link.frames import CommandKind, Reply
from mkrpc.link.messages import MESSAGE_WINDOW

USER = 0x4000


def topology(links: str, **more: object) -> Topology:
    instances = [{"id": number, "cpu_count": 2} | more for number in range(3)]
    return Topology.from_dict({"links": links, "instances": instances})


@pytest.fixture(params=["memory", "interconnect"])
def links(request) -> str:
    return request.param


@pytest.fixture
def machine(mk_machine, links):
    return mk_machine(topology(links))


def command(machine, instance: int, kind: CommandKind, **what: object) -> list[Reply]:
    """The replies that come, later than this perhaps."""
    replies: list[Reply] = []
    given = {"cpu": 0, "word": 0, "count": 0, "action": ""} | what
    machine.bus.command(instance, kind=kind, on_reply=replies.append, **given)
    return replies


def say(machine, sender: int, target: int, text: str) -> list[Reply]:
    return command(
        machine,
        sender,
        CommandKind.SEND_MESSAGE,
        word=target << 32 | USER,
        count=2 * target,
        action=text,
    )


def fate(machine, sender: int, target: int, reply: Reply) -> str:
    way, number = reply.text.split()
    found = command(
        machine,
        sender,
        CommandKind.MESSAGE_FATE,
        word=target << 32,
        count=int(number),
        action=way,
    )
    machine.settle()
    return found[0].text


def ask(machine, sender: int, target: int, operation: int, resource: int = 0) -> list[Reply]:
    return command(
        machine,
        sender,
        CommandKind.SEND_REQUEST,
        word=target << 32 | operation,
        count=resource << 32 | 2 * target,
    )


def listen(kernel) -> list:
    received = []
    kernel.multikernel.register_handler(
        USER, lambda _cpu, delivery, _ctx: received.append((delivery.sender, delivery.data))
    )
    return received


def texts(kernel) -> list[str]:
    return [record.text for record in kernel.log.since(0)]


def parked(kernel) -> bool:
    return all(cpu.stopped and not cpu.interrupts_enabled for cpu in kernel.cpus)


def test_a_message_is_sent_by_the_cpus_own_code_and_its_fate_is_known(machine, links) -> None:
    received = listen(machine.kernels[1])
    replies = say(machine, 0, 1, "hello")
    machine.settle()
    assert received == [(0, b"hello")]
    assert [reply.text for reply in replies] == [f"{links} 1"]
    assert fate(machine, 0, 1, replies[0]) == "taken"
    cpu = machine.kernels[0].cpus[0]
    assert cpu.irq_stat.apic_irq_work_irqs == 1
    assert machine.kernels[0].multikernel.rung == 1
    assert machine.bus.balance() == []


def test_a_message_that_nobody_takes_waits_and_is_left_by_name(machine, links) -> None:
    replies = say(machine, 0, 1, "hello?")
    machine.settle()
    assert fate(machine, 0, 1, replies[0]) == "waiting"
    machine.crash(1)
    machine.settle()
    gone = {"memory": "left", "interconnect": "lost(target_dead, maybe_delivered)"}
    assert fate(machine, 0, 1, replies[0]) == gone[links]


def test_what_an_earlier_life_left_is_not_taken_by_the_next(machine, links) -> None:
    old = say(machine, 0, 1, "for the first life")
    machine.settle()
    machine.crash(1)
    machine.boot(kernel_config(topology(links), 1))
    received = listen(machine.kernels[1])
    new = say(machine, 0, 1, "for the second")
    machine.settle()
    assert received == [(0, b"for the second")]
    gone = {"memory": "left", "interconnect": "lost(target_dead, maybe_delivered)"}
    assert fate(machine, 0, 1, old[0]) == gone[links]
    assert fate(machine, 0, 1, new[0]) == "taken"


def test_the_fate_of_each_of_many(machine, links) -> None:
    cpu = machine.kernels[1].cpus[0]
    received = listen(machine.kernels[1])
    cpu.interrupts_enabled = False
    sent = []
    for number in range(MESSAGE_WINDOW):
        replies = say(machine, 0, 1, str(number))
        machine.settle()
        sent += replies
    full = say(machine, 0, 1, "one too many")
    machine.settle()
    assert [reply.text for reply in full] == [str(-ENOSPC)]
    assert received == []
    assert {fate(machine, 0, 1, reply) for reply in sent} == {"waiting"}
    cpu.interrupts_enabled = True
    cpu.boundary()
    machine.kernels[1].advance(100)
    machine.exchange()
    fates = [fate(machine, 0, 1, reply) for reply in sent]
    assert fates[0] == "taken"
    assert fates == sorted(fates), "in order"
    machine.settle()
    assert len(received) == MESSAGE_WINDOW
    assert {fate(machine, 0, 1, reply) for reply in sent} == {"taken"}


def test_a_program_that_has_interrupts_disabled_is_not_cut_short(machine) -> None:
    order = []
    received = listen(machine.kernels[1])

    def program(cpu):
        yield Cli()
        for number in range(200):
            order.append(number)
            yield Nop()
        order.append(bool(received))

    machine.kernels[0].start_program(0, program)
    machine.kernels[0].advance(3)
    say(machine, 0, 1, "later")
    machine.settle()
    assert order == [*range(200), False]
    assert received == [(0, b"later")]


def test_the_fate_is_that_of_its_own_message_whoever_else_sends_meanwhile(machine, links) -> None:
    """The channel has taken another CPU's message before the doorbell of this one is rung."""
    received = listen(machine.kernels[1])
    channel = machine.kernels[0].multikernel.links

    def program(cpu):
        while not channel.latest:
            yield Nop()
        yield from channel.send(1, USER, b"another")

    machine.kernels[0].start_program(1, program)
    replies = say(machine, 0, 1, "own")
    machine.settle()
    assert received == [(0, b"own"), (0, b"another")]
    assert [reply.text for reply in replies] == [f"{links} 1"]
    assert fate(machine, 0, 1, replies[0]) == "taken"


@pytest.mark.parametrize(("target", "text", "result"), [(0, "x", -EINVAL), (1, "", -EINVAL)])
def test_errnos_come_back(machine, target, text, result) -> None:
    replies = say(machine, 0, target, text)
    machine.settle()
    assert [reply.text for reply in replies] == [str(result)]


def test_a_kernel_without_the_patch_says_so(mk_machine) -> None:
    machine = mk_machine(topology("memory", multikernel=False))
    replies = say(machine, 0, 1, "x")
    machine.settle()
    assert "takes no multikernel interrupt" in replies[0].error


def test_what_cannot_be_asked(machine) -> None:
    nobody, nothing = say(machine, 0, 512, "x"), ask(machine, 0, 1, Subtype.MK_RES_QUERY)
    unknown = command(
        machine, 0, CommandKind.MESSAGE_FATE, word=1 << 32, count=77, action="interconnect"
    )
    machine.settle()
    assert [reply.error for reply in nobody] == ["no instance can be 512"]
    assert [reply.error for reply in nothing] == ["no request 0x2005 is made for a client"]
    assert [reply.text for reply in unknown] == ["unknown"]


def test_shutdown_travels_on_the_channel_and_is_acknowledged(machine, links) -> None:
    """MK_MSG_SYS/SHUTDOWN, the doorbell 0xEA, the ACK, its doorbell; then every CPU parks."""
    spawn = machine.kernels[1]
    spawn.multikernel.register_handler(USER, lambda *_: None)
    replies = ask(machine, 0, 1, Subtype.MK_SYS_SHUTDOWN)
    machine.settle()
    assert [(reply.text, reply.error) for reply in replies] == [("0", "")]
    assert parked(spawn)
    assert texts(spawn)[-1] == "reboot: System halted"
    counts = machine.kernels[0].multikernel.links.counts[1]
    by_memory = links == "memory"
    assert (counts.sent, counts.received) == (by_memory, by_memory)
    assert (counts.posted, counts.collected) == (not by_memory, not by_memory)
    assert spawn.cpus[0].multikernel_count == machine.kernels[0].cpus[0].multikernel_count == 1
    assert not parked(machine.kernels[0])
    assert machine.bus.balance() == []


def test_a_kernel_that_never_asked_for_messages_shuts_down_too(machine, links) -> None:
    """The way there is the interconnect, which makes it look; the way back is memory."""
    replies = ask(machine, 0, 1, Subtype.MK_SYS_SHUTDOWN)
    machine.settle()
    assert [reply.text for reply in replies] == ["0"]
    assert parked(machine.kernels[1])
    counts = machine.kernels[0].multikernel.links.counts[1]
    assert (counts.sent, counts.posted) == (0, 1)
    assert (counts.received, counts.collected) == ((1, 0) if links == "memory" else (0, 1))


def test_nobody_but_the_host_shuts_a_kernel_down(machine) -> None:
    replies = ask(machine, 2, 1, Subtype.MK_SYS_SHUTDOWN)
    machine.settle()
    assert replies == []
    assert not parked(machine.kernels[1])
    ignored = "Ignoring SHUTDOWN from instance 2, which is not the host"
    assert ignored in texts(machine.kernels[1])
    machine.now_us += SHUTDOWN_TIMEOUT_US
    again = say(machine, 2, 0, "anything, so that time is looked at")
    machine.settle()
    assert [reply.text for reply in replies] == ["-110"]
    assert again


def test_requests_and_work_that_nobody_ends_have_a_limit(machine, monkeypatch) -> None:
    monkeypatch.setattr(errands, "MAX_OPEN_REQUESTS", 1)
    ignored = ask(machine, 2, 1, Subtype.MK_SYS_SHUTDOWN)
    machine.settle()
    again = ask(machine, 2, 1, Subtype.MK_SYS_SHUTDOWN)
    machine.settle()
    assert ignored == []
    assert [reply.reason for reply in again] == [LimitReachedError.reason]
    monkeypatch.setattr(irq_work, "MAX_IRQ_WORK", 1)
    machine.kernels[0].cpus[0].interrupts_enabled = False
    waits, refused = say(machine, 0, 1, "one"), say(machine, 0, 1, "two")
    machine.settle()
    assert waits == []
    assert [reply.reason for reply in refused] == [LimitReachedError.reason]


@pytest.mark.parametrize(
    ("subtype", "payload", "says"),
    [
        (Subtype.MK_SYS_SHUTDOWN, b"?", "SHUTDOWN of 1 bytes is too small"),
        (Subtype.MK_SYS_HEARTBEAT, b"", "no handler for message subtype 0x3001"),
    ],
)
def test_what_is_no_shutdown_changes_nothing(machine, subtype, payload, says) -> None:
    def program(cpu):
        messages = cpu.kernel.multikernel.messages
        yield from messages.send(1, MkType.MK_MSG_SYSTEM, subtype, payload)

    machine.kernels[0].start_program(0, program)
    machine.settle()
    assert says in texts(machine.kernels[1])
    assert not parked(machine.kernels[1])


def test_a_handler_of_ones_own_comes_before_the_kernels(machine) -> None:
    asked = []
    messages = machine.kernels[1].multikernel.messages
    messages.register_handler(
        MkType.MK_MSG_SYSTEM, lambda _cpu, received, _ctx: asked.append(received.message)
    )
    ask(machine, 0, 1, Subtype.MK_SYS_SHUTDOWN)
    machine.settle()
    (message,) = asked
    assert ShutdownPayload.decode(message.payload).sender_instance_id == 0
    assert not parked(machine.kernels[1])


def test_a_cpu_is_asked_for_from_outside(mk_machine, links) -> None:
    instances = [{"id": 0, "cpu_count": 2}, {"id": 1, "cpu_count": 2}]
    machine = mk_machine(Topology.from_dict({"links": links, "instances": instances}))
    assert machine.kernels[1].multikernel.hotplug is not None
    off = ask(machine, 0, 1, Subtype.MK_RES_CPU_REMOVE, 3)
    machine.settle()
    assert [reply.text for reply in off] == ["0"]
    assert machine.kernels[1].hotplug.offline == {1}
    boot = ask(machine, 0, 1, Subtype.MK_RES_CPU_REMOVE, 2)
    foreign = ask(machine, 0, 1, Subtype.MK_RES_CPU_REMOVE, 0)
    back = ask(machine, 0, 1, Subtype.MK_RES_CPU_ADD, 3)
    machine.settle()
    found = [reply.text for reply in boot + foreign + back]
    assert found == [str(-EINVAL), str(-ENODEV), "0"]
    assert machine.kernels[1].hotplug.offline == set()


def test_requests_leave_the_other_types_to_whoever_wants_them(machine) -> None:
    received = [listen(machine.kernels[number]) for number in (0, 1)]
    assert machine.kernels[1].multikernel.hotplug is not None
    off = ask(machine, 0, 1, Subtype.MK_RES_CPU_REMOVE, 3)
    machine.settle()
    assert [(reply.text, reply.error) for reply in off] == [("0", "")]
    say(machine, 0, 1, "still heard")
    machine.settle()
    assert received == [[], [(0, b"still heard")]]


def test_a_bell_with_nothing_behind_it_costs_one_instruction(machine) -> None:
    """A kernel that takes messages coalesces bare interrupts no more than one that does not."""
    listen(machine.kernels[1])
    tally = machine.inject(2 << 32 | 0xEA, 50)
    machine.settle()
    assert {outcome.name for _, _, outcome in tally.legs} == {"DELIVERED"}
    assert machine.kernels[1].multikernel.interrupts == 50
