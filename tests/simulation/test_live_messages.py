"""``cpu.kernel.multikernel`` in the machine in one thread: over shared memory, and without it."""

from errno import EINVAL, ENODEV, ENOSPC

import pytest

from mkrpc import Topology
from mkrpc.errors import ProtocolError
from mkrpc.instance.config import kernel_config
from mkrpc.instance.instructions import Nop
from mkrpc.instance.multikernel.mk_message import MkType, Subtype
from mkrpc.link.frames import UpFrame
from mkrpc.link.messages import MAX_MESSAGE_BYTES, MESSAGE_WINDOW, Message
from mkrpc.outcome import Outcome

USER = 0x4000


def topology(links: str, *, instances: int = 2, policy: str = "bare-metal") -> Topology:
    return Topology.from_dict(
        {
            "links": links,
            "policy": policy,
            "instances": [{"id": number, "cpu_count": 2} for number in range(instances)],
        }
    )


@pytest.fixture(params=["memory", "interconnect"])
def links(request) -> str:
    return request.param


def listen(kernel) -> list:
    """What comes to a kernel, from now on."""
    received = []

    def note(_cpu, delivery, _ctx):
        received.append((delivery.sender, delivery.data))

    assert kernel.multikernel.register_handler(USER, note) == 0
    return received


def send(kernel, target: int, *payloads: bytes, results: list | None = None) -> None:
    """A program that sends them, as often as it takes; or once each, with ``results``."""

    def program(cpu):
        for data in payloads:
            ipi = cpu.kernel.multikernel
            while (result := (yield from ipi.send_ipi_data(target, data, USER))) == -ENOSPC:
                if results is not None:
                    break
                yield Nop()
            if results is not None:
                results.append(result)
            else:
                assert result == 0

    kernel.start_program(0, program)


def test_both_ways_in_order_and_counted(mk_machine, links) -> None:
    machine = mk_machine(topology(links))
    at = [listen(machine.kernels[n]) for n in (0, 1)]
    there = [f"to 1, {n}".encode() for n in range(100)]
    back = [f"to 0, {n}".encode() for n in range(100)]
    send(machine.kernels[0], 1, *there)
    send(machine.kernels[1], 0, *back)
    machine.settle()
    assert at[1] == [(0, data) for data in there]
    assert at[0] == [(1, data) for data in back]
    counts = machine.kernels[0].multikernel.links.counts[1]
    by_memory = 100 if links == "memory" else 0
    assert (counts.sent, counts.received) == (by_memory, by_memory)
    assert (counts.posted, counts.collected) == (100 - by_memory, 100 - by_memory)
    if links == "interconnect":
        assert machine.bus._messages.outcomes == {Outcome.DELIVERED: 200}
        assert machine.kernels[0].post.outstanding(1) == 0
    assert machine.bus.balance() == []


def test_a_receiver_that_takes_nothing_fills_the_window(mk_machine, links) -> None:
    machine = mk_machine(topology(links))
    results: list[int] = []
    send(machine.kernels[0], 1, *[b"x"] * (MESSAGE_WINDOW + 3), results=results)
    machine.settle()
    assert results == [0] * MESSAGE_WINDOW + [-ENOSPC] * 3
    assert machine.kernels[0].multikernel.links.counts[1].full == 3
    received = listen(machine.kernels[1])
    send(machine.kernels[0], 1, b"wake up", results=[])
    machine.cpu(0).write_icr(0xEA | machine.kernels[1].cpus[0].apic_id << 32)
    machine.settle()
    assert received[:MESSAGE_WINDOW] == [(0, b"x")] * MESSAGE_WINDOW


@pytest.mark.parametrize(
    ("target", "data", "result"),
    [(0, b"x", -EINVAL), (1, b"", -EINVAL), (1, bytes(257), -EINVAL), (5, b"x", -ENODEV)],
)
def test_what_cannot_be_sent(mk_machine, links, target, data, result) -> None:
    machine = mk_machine(topology(links))
    results: list[int] = []
    send(machine.kernels[0], target, data, results=results)
    machine.settle()
    assert results == [result]


def test_messages_to_who_is_not_there_are_settled_by_name(mk_machine) -> None:
    machine = mk_machine(topology("interconnect"))
    machine.crash(1)
    send(machine.kernels[0], 1, b"a", b"b")
    machine.settle()
    sent = machine.kernels[0].post.sent[1]
    assert sent.outcomes == {Outcome.REJECTED_NO_SUCH_APIC: 2}
    assert not sent.unsettled


def test_a_receiver_that_dies_settles_what_it_had_not_taken(mk_machine) -> None:
    machine = mk_machine(topology("interconnect"))
    send(machine.kernels[0], 1, *[b"x"] * 5)
    machine.settle()
    machine.crash(1)
    again = machine.boot(kernel_config(topology("interconnect"), 1))
    received = listen(again)
    machine.settle()
    assert machine.kernels[0].post.sent[1].outcomes == {Outcome.LOST_TARGET_DEAD_MAYBE_DELIVERED: 5}
    send(machine.kernels[0], 1, b"for the new one")
    machine.settle()
    assert received == [(0, b"for the new one")]


def test_after_a_respawn_nothing_stale(mk_machine, links) -> None:
    made = topology(links)
    machine = mk_machine(made)
    received = listen(machine.kernels[0])
    send(machine.kernels[1], 0, b"first life")
    machine.settle()
    send(machine.kernels[0], 1, b"never read")
    machine.settle()
    machine.crash(1)
    again = machine.boot(kernel_config(made, 1))
    to_child = listen(again)
    send(again, 0, b"second life")
    machine.settle()
    send(machine.kernels[0], 1, b"new")
    machine.settle()
    assert received == [(1, b"first life"), (1, b"second life")]
    assert to_child == [(0, b"new")]


def test_the_policy_decides_as_over_the_doorbell(mk_machine) -> None:
    machine = mk_machine(topology("interconnect", policy="filtered"))
    received = listen(machine.kernels[1])
    send(machine.kernels[0], 1, b"the doorbell may pass, and so may this")
    machine.settle()
    assert len(received) == 1


@pytest.mark.parametrize(
    "message",
    [
        Message(0, 1, USER, b"to itself"),
        Message(512, 1, USER, b"nobody"),
        Message(1, 0, USER, b"no number"),
        Message(1, 1, USER, b""),
        Message(1, 1, USER, bytes(MAX_MESSAGE_BYTES + 1)),
    ],
)
def test_the_interconnect_believes_nobody(mk_machine, message) -> None:
    machine = mk_machine(topology("interconnect"))
    with pytest.raises(ProtocolError):
        machine.bus.receive(machine._sessions[0], UpFrame(frame=1, events=[message]))


def test_a_source_that_ignores_its_window_is_cut_off(mk_machine) -> None:
    machine = mk_machine(topology("interconnect"))
    flood = [Message(1, n + 1, USER, b"x") for n in range(MESSAGE_WINDOW + 1)]
    with pytest.raises(ProtocolError, match="more than 16 messages"):
        machine.bus.receive(machine._sessions[0], UpFrame(frame=1, events=flood))


def test_requests_have_ids_that_no_other_life_has(mk_machine, links) -> None:
    made = topology(links)
    machine = mk_machine(made)
    asked = []

    def serve(cpu, received, _ctx):
        asked.append(received.message.msg_id)
        messages = cpu.kernel.multikernel.messages
        yield from messages.acknowledge(received.sender, received.message, resource_id=7)

    answers = []

    def ask(cpu):
        messages = cpu.kernel.multikernel.messages
        request = yield from messages.request(1, Subtype.MK_RES_QUERY, b"", resource_id=7)
        answers.append((yield from messages.wait(request)))

    for _ in range(2):
        machine.kernels[1].multikernel.messages.register_handler(MkType.MK_MSG_RESOURCE, serve)
        machine.kernels[0].start_program(0, ask)
        machine.settle()
        machine.crash(0)
        machine.boot(kernel_config(made, 0))
        machine.kernels[1].multikernel.messages.unregister_handler(MkType.MK_MSG_RESOURCE, serve)
    assert answers == [0, 0]
    assert len(set(asked)) == 2
