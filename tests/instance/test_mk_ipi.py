"""The framework in one kernel: every errno, and what an interrupt hands on."""

from errno import EBUSY, EEXIST, EINVAL, EMSGSIZE, ENODEV, ENOENT, ENOMEM, ENOSPC

import pytest

from mkrpc.errors import AlreadyExistsError, InvalidArgumentError
from mkrpc.instance.instructions import Nop, WriteIcr
from mkrpc.instance.memory import SharedMemory
from mkrpc.instance.multikernel.catalogue import channels
from mkrpc.instance.multikernel.channels.ikc import IKC_PACKETS, Ikc
from mkrpc.instance.multikernel.channels.link_rings import LINK_SLOTS, LinkRings
from mkrpc.instance.multikernel.channels.mpsc_ring import MpscRing
from mkrpc.instance.multikernel.ipi import MultikernelIpi
from mkrpc.instance.multikernel.messages import MkMessages
from mkrpc.instance.multikernel.mk_message import MkMessage, Subtype, encode
from mkrpc.limits import MAX_HANDLERS
from mkrpc.x86.icr import fixed

INSTANCES = (0, 1, 2)
USER = 0x4000


@pytest.fixture
def memory() -> SharedMemory:
    return SharedMemory(bytearray(1 << 20))


@pytest.fixture
def make_ipi(make_kernel, memory):
    """``make_ipi(1)``: an end in a kernel with that id; its own APIC ids are 0 and 1."""

    def make(own: int = 1, kind=LinkRings, *, doorbells=None, **settings) -> MultikernelIpi:
        kernel = make_kernel(instance_id=own, memory=memory, **settings)
        doorbells = {0: 100, 1: 0, 2: 102} if doorbells is None else doorbells
        channel = kind(INSTANCES, own=own) if kind else None
        return MultikernelIpi(kernel, channel, doorbells=doorbells)

    return make


def run(ipi: MultikernelIpi, steps):
    """Steps as a program of CPU 0; what they return."""
    results = []

    def program(cpu):
        results.append((yield from steps))

    ipi.kernel.start_program(0, program)
    ipi.kernel.advance(1_000_000)
    assert ipi.kernel.oops_count == 0, [record.text for record in ipi.kernel.log.since(0)]
    return results[0]


def lines(ipi: MultikernelIpi) -> list[str]:
    return [record.text for record in ipi.kernel.log.since(0)]


# Handlers.


def test_handlers_are_registered_by_type_once(make_ipi):
    ipi = make_ipi()

    def handler(cpu, delivery, ctx):
        pass

    assert ipi.register_handler(USER, handler) == 0
    assert ipi.register_handler(USER, lambda *_: None) == -EEXIST
    assert ipi.register_handler(USER + 1, handler) == 0
    assert ipi.unregister_handler(USER, lambda *_: None) == -ENOENT
    assert ipi.unregister_handler(USER, handler) == 0
    assert ipi.unregister_handler(USER, handler) == -ENOENT
    assert ipi.register_handler(USER, handler) == 0


@pytest.mark.parametrize(
    ("ipi_type", "handler"), [(USER, None), (USER, 5), (-1, print), (1 << 32, print)]
)
def test_what_cannot_be_a_handler_is_einval(make_ipi, ipi_type, handler):
    assert make_ipi().register_handler(ipi_type, handler) == -EINVAL


def test_handlers_are_limited_with_enomem(make_ipi):
    ipi = make_ipi()
    results = [ipi.register_handler(number, print) for number in range(MAX_HANDLERS + 1)]
    assert results == [0] * MAX_HANDLERS + [-ENOMEM]


# Sending.


@pytest.mark.parametrize(
    ("instance", "data", "ipi_type", "errno"),
    [
        (-1, b"x", USER, EINVAL),
        (512, b"x", USER, EINVAL),
        (1, b"x", USER, EINVAL),
        (0, b"", USER, EINVAL),
        (0, bytes(257), USER, EINVAL),
        (0, b"x", -1, EINVAL),
        (0, b"x", 1 << 32, EINVAL),
        (7, b"x", USER, ENODEV),
    ],
)
@pytest.mark.parametrize("kind", channels().values(), ids=channels())
def test_a_send_that_cannot_be_is_refused(make_ipi, kind, instance, data, ipi_type, errno):  # noqa: PLR0917
    ipi = make_ipi(kind=kind)
    assert run(ipi, ipi.send_ipi_data(instance, data, ipi_type)) == -errno
    assert ipi.rung == 0


def test_an_instance_without_a_cpu_to_ring_is_enodev(make_ipi):
    ipi = make_ipi(doorbells={})
    assert run(ipi, ipi.send_ipi_data(0, b"x", USER)) == -ENODEV


def test_a_machine_without_the_area_is_enomem_and_says_so_when_rung(make_ipi):
    ipi = make_ipi(kind=None)
    assert run(ipi, ipi.send_ipi_data(0, b"x", USER)) == -ENOMEM
    ipi.kernel.accept(0, fixed(0, 0xEA))
    ipi.kernel.advance(100)
    assert "Multikernel IPI received but shared memory not initialized" in lines(ipi)


@pytest.mark.parametrize("memory", [None, SharedMemory(bytearray(64))], ids=["none", "too small"])
def test_memory_that_the_channel_does_not_fit_into_is_enomem(make_kernel, memory):
    kernel = make_kernel(memory=memory)
    ipi = MultikernelIpi(kernel, LinkRings(INSTANCES, own=1), doorbells={0: 100})
    assert run(ipi, ipi.send_ipi_data(0, b"x", USER)) == -ENOMEM


@pytest.mark.parametrize(
    ("kind", "room", "errno"),
    [(MpscRing, 63, ENOSPC), (LinkRings, LINK_SLOTS, ENOSPC), (Ikc, IKC_PACKETS, EBUSY)],
)
def test_a_full_channel_says_so_and_is_not_rung(make_ipi, kind, room, errno):
    ipi = make_ipi(kind=kind)
    results = [run(ipi, ipi.send_ipi_data(0, b"x", USER)) for _ in range(room + 2)]
    assert results == [0] * room + [-errno] * 2
    assert ipi.rung == room


def test_a_send_rings_the_doorbell_of_its_instance_behind_the_data(make_ipi, memory):
    ipi = make_ipi()
    assert run(ipi, ipi.send_ipi_data(2, b"x", USER)) == 0
    words = [word for event in ipi.kernel.events if hasattr(event, "words") for word in event.words]
    assert words == [fixed(102, 0xEA)]
    assert ipi.kernel.cpus[0].interrupts_enabled


def test_two_cpus_of_a_kernel_send_one_after_the_other(make_ipi, memory):
    """A ring with one producer has one, though the instructions of both CPUs alternate."""
    ipi = make_ipi(apic_ids=(0, 1))
    results = []

    def program(cpu):
        for index in range(5):
            data = bytes([cpu.number * 16 + index]) * 32
            results.append((yield from ipi.send_ipi_data(0, data, USER)))

    ipi.kernel.start_program(0, program)
    ipi.kernel.start_program(1, program)
    ipi.kernel.advance(10_000)
    assert results == [0] * 10
    receiver = make_ipi(own=0)
    taken = []
    receiver.register_handler(USER, lambda cpu, delivery, ctx: taken.append(delivery.data))
    run(receiver, receiver.receive(receiver.kernel.cpus[0], 64))
    assert sorted(taken) == sorted(bytes([n * 16 + i]) * 32 for n in (0, 1) for i in range(5))


# Receiving.


def test_an_interrupt_hands_all_that_waits_to_the_handlers_of_their_types(make_ipi):
    sender, receiver = make_ipi(own=1), make_ipi(own=2)
    for data, ipi_type in ((b"one", USER), (b"two", USER + 1), (b"three", USER)):
        assert run(sender, sender.send_ipi_data(2, data, ipi_type)) == 0
    taken = []

    def handler(cpu, delivery, ctx):
        yield Nop()
        taken.append((ctx, delivery.sender, delivery.ipi_type, delivery.data))

    receiver.register_handler(USER, handler, "ctx")
    receiver.kernel.accept(0, fixed(0, 0xEA))
    receiver.kernel.advance(10_000)
    assert taken == [("ctx", 1, USER, b"one"), ("ctx", 1, USER, b"three")]
    assert "no handler for IPI type 0x4001" in lines(receiver)
    assert receiver.kernel.cpus[0].irq_stat.irq_call_count == 1


@pytest.mark.parametrize("kind", [MpscRing, LinkRings, Ikc])
def test_after_64_messages_a_receiver_rings_itself(make_ipi, kind, monkeypatch):
    """What came while it drained may have no interrupt of its own: doorbells merge."""
    monkeypatch.setattr(kind, "per_interrupt", 4)
    sender, receiver = make_ipi(own=1, kind=kind), make_ipi(own=2, kind=kind)
    taken = []
    receiver.register_handler(USER, lambda cpu, delivery, ctx: taken.append(delivery.data))
    for index in range(10):
        assert run(sender, sender.send_ipi_data(2, bytes([index]), USER)) == 0
    receiver.kernel.accept(0, fixed(0, 0xEA))
    receiver.kernel.advance(10_000)
    assert taken == [bytes([index]) for index in range(10)]
    assert receiver.interrupts == 3


def test_a_channel_end_of_another_instance_is_refused(make_kernel, memory):
    with pytest.raises(InvalidArgumentError):
        MultikernelIpi(make_kernel(memory=memory), LinkRings(INSTANCES, own=0), doorbells={})


# Messages.


def test_a_message_that_is_too_large_is_emsgsize_with_the_line_of_the_series(make_ipi):
    ipi = make_ipi()
    messages = MkMessages(ipi, spawn=1)
    assert run(ipi, messages.send(0, USER, 1, bytes(256 - 24))) == 0
    assert run(ipi, messages.send(0, USER, 1, bytes(256 - 23))) == -EMSGSIZE
    assert "Multikernel message too large: 257 > 256 bytes" in lines(ipi)


def test_message_handlers_have_the_same_errnos(make_ipi):
    messages = MkMessages(make_ipi(), spawn=1)

    def handler(cpu, received, ctx):
        pass

    assert messages.register_handler(USER, handler) == 0
    assert messages.register_handler(USER, handler) == -EEXIST
    assert messages.register_handler(0x6000, handler) == -EINVAL
    assert messages.register_handler(0x1000, None) == -EINVAL
    assert messages.unregister_handler(0x1000, handler) == -ENOENT
    assert messages.unregister_handler(USER, handler) == 0


def test_the_types_of_the_messages_must_be_free(make_ipi):
    ipi = make_ipi()
    ipi.register_handler(0x3000, lambda *_: None)
    with pytest.raises(AlreadyExistsError):
        MkMessages(ipi, spawn=1)


def test_a_request_that_cannot_be_sent_ends_at_once(make_ipi):
    ipi = make_ipi()
    messages = MkMessages(ipi, spawn=1)
    request = run(ipi, messages.request(7, Subtype.MK_RES_QUERY, b"", resource_id=0))
    assert (request.result, len(messages.pending)) == (-ENODEV, 0)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"short", "Multikernel message too small: 5 bytes"),
        (
            encode(MkMessage(msg_type=0x1000, msg_subtype=0)),
            "Multikernel message type mismatch: expected 0x2000, got 0x1000",
        ),
        (
            encode(MkMessage(msg_type=0x2000, msg_subtype=0x2001)),
            "no handler for message type 0x2000",
        ),
        (
            encode(MkMessage(msg_type=0x2000, msg_subtype=0x2100, payload=b"1234")),
            "ACK of 4 bytes is too small",
        ),
        (
            encode(MkMessage(msg_type=0x2000, msg_subtype=0x2100, payload=bytes(16))),
            "ACK of operation 0x0 on resource 0 completes nothing",
        ),
    ],
)
def test_what_nobody_can_use_leaves_a_line_in_the_log(make_ipi, data, text):
    sender, receiver = make_ipi(own=1), make_ipi(own=2)
    MkMessages(receiver, spawn=1)
    assert run(sender, sender.send_ipi_data(2, data, 0x2000)) == 0
    receiver.kernel.accept(0, fixed(0, 0xEA))
    receiver.kernel.advance(1000)
    assert text in lines(receiver)
    assert receiver.kernel.oops_count == 0


def test_a_fence_stands_between_the_data_and_the_doorbell(make_ipi, memory):
    """R17: an x2APIC write would overtake the stores that it announces."""
    ipi = make_ipi(store_buffer=64)
    seen = []

    def program(cpu):
        steps = ipi.send_ipi_data(0, b"payload!", USER)
        result = None
        while True:
            try:
                instruction = steps.send(result)
            except StopIteration:
                return
            if isinstance(instruction, WriteIcr):
                seen.append(bytes(memory.load(at, 1) for at in range(len(memory) // 16)))
            result = yield instruction

    ipi.kernel.start_program(0, program)
    ipi.kernel.advance(1000)
    assert b"payload!" in seen[0]


@pytest.mark.parametrize("kind", [MpscRing, Ikc, *channels().values()])
def test_a_channel_that_claims_is_refused_by_name_between_processes(make_ipi, memory, kind) -> None:
    memory.between_processes = True
    if kind.needs_cmpxchg:
        with pytest.raises(InvalidArgumentError, match=f"^{kind.name} claims by compare"):
            make_ipi(kind=kind)
    else:
        assert make_ipi(kind=kind).channel is not None


def test_the_channels_that_claim() -> None:
    claiming = {name for name, kind in channels().items() if kind.needs_cmpxchg}
    assert claiming == {"mpsc-ring", "publish-flag", "ikc"}
