"""Message channels, one end after the other: layouts, order, wrap-around, re-spawn.

What happens between two stores is in tests/simulation/test_messages.py.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mkrpc.errors import InvalidArgumentError, NotFoundError
from mkrpc.instance.instructions import Cmpxchg, Load, Store
from mkrpc.instance.memory import SharedMemory
from mkrpc.instance.multikernel.catalogue import (
    DEFAULT_CHANNEL,
    channel_named,
    channels,
    load_channels,
)
from mkrpc.instance.multikernel.channel import Delivery
from mkrpc.instance.multikernel.channels.link_rings import LINK_SLOTS, LinkRings
from mkrpc.instance.multikernel.channels.mailbox import Mailbox
from mkrpc.instance.multikernel.channels.mpsc_ring import MpscRing
from mkrpc.instance.multikernel.channels.publish_flag import PublishFlagRing
from mkrpc.instance.multikernel.channels.ump import UMP_LINES, Ump

INSTANCES = (0, 1, 2, 5)
USER = 0x4000
QUEUES = {name: kind for name, kind in channels().items() if kind is not Mailbox}


class Bench:
    """Ends of one channel over one memory; steps run one after the other, at once."""

    def __init__(self, kind, instances=INSTANCES, **settings):
        self.kind, self.instances, self.settings = kind, instances, settings
        self.ends = {own: kind(instances, own=own, **settings) for own in instances}
        size = self.ends[instances[0]].memory_bytes
        self.memory = SharedMemory(bytearray(size + settings.get("base", 0)))

    def anew(self, instance):
        self.ends[instance] = self.kind(self.instances, own=instance, **self.settings)

    def run(self, steps, *, stores: int | None = None):
        """Its result; with ``stores`` it is dropped after so many of them, as if killed."""
        result = None
        try:
            while True:
                instruction = steps.send(result)
                result = None
                match instruction:
                    case Load(address, size):
                        result = self.memory.load(address, size)
                    case Store(address, value, size):
                        if stores == 0:
                            return None
                        stores = None if stores is None else stores - 1
                        self.memory.store(address, value, size)
                    case Cmpxchg(address, expected, value, size):
                        result = self.memory.load(address, size)
                        if result == expected:
                            self.memory.store(address, value, size)
        except StopIteration as end:
            return end.value

    def stores_of(self, steps):
        """What they store, without storing it."""
        stores, result = [], None
        try:
            while True:
                instruction = steps.send(result)
                result = None
                if isinstance(instruction, Load):
                    result = self.memory.load(instruction.address, instruction.size)
                else:
                    stores.append(instruction)
        except StopIteration:
            return stores

    def send(self, sender, target, data, ipi_type=USER):
        return self.run(self.ends[sender].send(target, ipi_type, data))

    def receive(self, own):
        return self.run(self.ends[own].receive())


def test_there_are_these_channels_and_the_default_is_one_of_them():
    assert set(channels()) == {"mailbox", "mpsc-ring", "publish-flag", "link-rings", "ump", "ikc"}
    assert channel_named(DEFAULT_CHANNEL) is LinkRings
    with pytest.raises(NotFoundError) as caught:
        channel_named("pigeon")
    assert "link-rings" in caught.value.advice


@pytest.mark.parametrize(
    ("kind", "max_data", "attribute", "size"),
    [
        (Mailbox, 256, "slot_bytes", 272),
        (MpscRing, 256, "slot_bytes", 272),
        (MpscRing, 256, "ring_bytes", 17416),
        (PublishFlagRing, 4096, "slot_bytes", 4120),
        (PublishFlagRing, 4096, "ring_bytes", 263688),
    ],
)
def test_structures_have_the_sizes_of_the_series(kind, max_data, attribute, size):
    assert getattr(kind(INSTANCES, own=0, max_data=max_data), attribute) == size


@pytest.mark.parametrize("kind", channels().values(), ids=channels())
@pytest.mark.parametrize("base", [0, 4096])
def test_a_message_arrives_as_it_was_sent_and_nowhere_else(kind, base):
    bench = Bench(kind, base=base)
    for size in (1, 7, 8, 9, 56, 255, 256):
        data = bytes(range(size % 256)) or b"\xff" * size
        assert bench.send(5, 1, data) == 0
        delivery = bench.receive(1)
        assert (delivery.ipi_type, delivery.data) == (USER, data)
        if kind.knows_sender:
            assert delivery.sender == 5
        if kind is not Mailbox:
            assert [bench.receive(own) for own in INSTANCES] == [None] * 4
    assert not any(bench.memory.load(at, 1) for at in range(base))


@pytest.mark.parametrize("kind", QUEUES.values(), ids=QUEUES)
@given(script=st.lists(st.tuples(st.sampled_from((0, 2, 5)), st.integers(1, 64)), max_size=150))
def test_messages_of_a_sender_arrive_once_and_in_order_round_and_round(kind, script):
    bench = Bench(kind)
    waiting: dict[int, list[bytes]] = {0: [], 2: [], 5: []}
    for index, (sender, size) in enumerate(script):
        data = bytes([sender]) + index.to_bytes(2, "little") + bytes(size)
        if bench.send(sender, 1, data) == 0:
            waiting[sender].append(data)
        elif index % 3 == 0 or len(waiting[sender]) > 10:
            taken = bench.receive(1)
            assert taken.data == waiting[taken.data[0]].pop(0)
        if index % 4 == 3:
            taken = bench.receive(1)
            assert taken.data == waiting[taken.data[0]].pop(0)
    while (taken := bench.receive(1)) is not None:
        assert taken.data == waiting[taken.data[0]].pop(0)
    assert not any(waiting.values())


@pytest.mark.parametrize("kind", QUEUES.values(), ids=QUEUES)
def test_a_channel_goes_round_many_times(kind):
    bench = Bench(kind)
    for index in range(300):
        assert bench.send(0, 2, index.to_bytes(2, "little")) == 0
        assert bench.receive(2).data == index.to_bytes(2, "little")
        assert bench.receive(2) is None


def test_a_message_of_ump_is_a_run_of_lines_and_waits_for_room():
    bench = Bench(Ump)
    sizes = (48, 49, 256)  # 1, 2 and 5 lines: 8 bytes say type and size
    for size in sizes:
        assert bench.send(0, 1, bytes(size)) == 0
    full = 0
    while bench.send(0, 1, bytes(256)) == 0:
        full += 1
    assert full == (UMP_LINES - 8) // 5
    assert [len(bench.receive(1).data) for _ in range(3 + full)] == [*sizes, *[256] * full]
    assert bench.send(0, 1, bytes(256)) == 0


# What the death of a producer leaves behind, at each of its stores.


@pytest.mark.parametrize("stores", range(20))
def test_in_the_ring_of_all_a_producer_that_dies_after_its_claim_stops_the_others(stores):
    bench = Bench(PublishFlagRing)
    bench.run(bench.ends[1].send(0, USER, bytes(64)), stores=stores)
    assert bench.send(2, 0, b"of another") == 0
    first = bench.receive(0)
    published = stores >= 11  # sender, type, 8 words, size
    assert (first is not None) == published
    if not published:
        bench.run(bench.ends[0].respawned(0))
        assert bench.send(2, 0, b"after the reset") == 0
        assert bench.receive(0).data == b"after the reset"


@pytest.mark.parametrize("stores", range(20))
@pytest.mark.parametrize("kind", [LinkRings, Ump])
def test_over_links_of_their_own_a_dead_producer_stops_nobody(kind, stores):
    bench = Bench(kind)
    bench.run(bench.ends[1].send(0, USER, bytes(64)), stores=stores)
    assert bench.send(2, 0, b"of another") == 0
    taken = [bench.receive(0), bench.receive(0)]
    assert Delivery(2, USER, b"of another") in taken


@pytest.mark.parametrize("stores", range(20))
@pytest.mark.parametrize("waiting", [0, 1, LINK_SLOTS - 1])
def test_a_re_spawned_instance_meets_no_message_of_its_earlier_life(stores, waiting):
    """50 lives under one id, each of which dies with its rings in disorder."""
    bench = Bench(LinkRings)
    for life in range(50):
        for index in range(waiting):
            assert bench.send(1, 0, b"old to host %d" % index) == 0
            assert bench.send(0, 1, b"old to child %d" % index) == 0
        bench.run(bench.ends[1].send(0, USER, bytes(64)), stores=stores)
        bench.run(bench.ends[0].send(1, USER, bytes(64)), stores=stores)
        bench.run(bench.ends[0].respawned(1))
        bench.anew(1)
        assert [bench.receive(0), bench.receive(1)] == [None, None]
        for sender, target in ((0, 1), (1, 0)):
            assert bench.send(sender, target, b"new %d" % life) == 0
            assert bench.receive(target) == Delivery(sender, USER, b"new %d" % life)


def test_a_slot_that_is_published_in_an_earlier_epoch_counts_as_empty():
    """The last store of a message may come after the reset: it says so by its epoch."""
    bench = Bench(LinkRings)
    # Type, epoch, size, one word, ready: still in the CPU of a life that has ended.
    pending = bench.stores_of(bench.ends[1].send(0, USER, b"late"))
    assert len(pending) == 5
    bench.run(bench.ends[0].respawned(1))
    for store in pending:
        bench.memory.store(store.address, store.value, store.size)
    assert bench.receive(0) is None
    bench.anew(1)
    assert bench.send(1, 0, b"new") == 0
    assert bench.receive(0).data == b"new"


# One's own.


OWN_CHANNEL = '''
from mkrpc.instance.instructions import Load, Store
from mkrpc.instance.multikernel.channel import Channel, Delivery


class Postcard(Channel):
    """One word for each instance."""

    name = "postcard"
    memory_bytes = 4096

    def send(self, target, ipi_type, data):
        yield Store(self.base + 8 * target, int.from_bytes(data[:4], "little") << 8 | 1)
        return 0

    def receive(self):
        word = yield Load(self.base + 8 * self.own)
        if not word & 1:
            return None
        yield Store(self.base + 8 * self.own, 0)
        return Delivery(0, 0x4000, (word >> 8).to_bytes(4, "little"))
'''


def test_a_channel_of_one_s_own_is_one_file(tmp_path):
    path = tmp_path / "postcard.py"
    path.write_text(OWN_CHANNEL)
    (kind,) = load_channels(path)
    bench = Bench(kind)
    assert bench.send(0, 1, b"card") == 0
    assert bench.receive(1).data == b"card"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "there is no such file"),
        ("1/0", "ZeroDivisionError"),
        ("x = 1", "defines no channel"),
    ],
)
def test_a_file_without_a_channel_is_refused(tmp_path, text, message):
    path = tmp_path / "mine.py"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InvalidArgumentError, match=message):
        load_channels(path)


@pytest.mark.parametrize(
    "settings", [{"own": 9}, {"max_data": 4}, {"max_data": 12}, {"max_data": 4104}]
)
@pytest.mark.parametrize("kind", channels().values(), ids=channels())
def test_an_end_that_cannot_be_is_refused(kind, settings):
    with pytest.raises(InvalidArgumentError):
        kind(INSTANCES, **({"own": 0} | settings))


def test_each_instance_is_named_once():
    with pytest.raises(InvalidArgumentError):
        LinkRings((0, 0), own=0)
