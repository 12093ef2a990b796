"""Message channels under interleavings that a seed draws: the defects of each, and none of the
default; requests between two kernels."""

import random
from errno import ETIMEDOUT

import pytest

from mkrpc.errors import InvalidArgumentError
from mkrpc.instance.instructions import Nop
from mkrpc.instance.kernel import KernelConfig
from mkrpc.instance.multikernel.catalogue import DEFAULT_CHANNEL, channels
from mkrpc.instance.multikernel.channels.link_rings import LinkRings
from mkrpc.instance.multikernel.ipi import MultikernelIpi
from mkrpc.instance.multikernel.messages import MkMessages
from mkrpc.instance.multikernel.mk_message import AckPayload, CpuPayload, MkType, Subtype
from mkrpc.simulation.machine import Machine
from mkrpc.simulation.message_defects import DEFECTS
from mkrpc.simulation.messages import Report, Workload, run_messages

SEEDS = 1_000
CHUNK = 250


CHANNELS = channels()


def run(channel: str, seed: int, workload: Workload) -> Report:
    return run_messages(CHANNELS[channel], seed, random.Random, workload)


@pytest.mark.parametrize("defect", DEFECTS.values(), ids=DEFECTS)
def test_a_defect_shows_by_its_seed_and_not_on_the_default_channel(defect):
    assert defect.shows(run(defect.channel, defect.seed, defect.workload))
    assert run(DEFAULT_CHANNEL, defect.seed, defect.workload).flawless


@pytest.mark.parametrize("kill", [False, True])
@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_the_default_channel_has_no_flaw_in_1000_seeds(first, kill):
    workload = Workload(messages=4, kill=kill)
    flawed = [
        seed
        for seed in range(first, first + CHUNK)
        if not run("link-rings", seed, workload).flawless
    ]
    assert flawed == []


@pytest.mark.full
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kill", [False, True])
def test_the_default_channel_has_no_flaw_in_10000_seeds(kill):
    workload = Workload(kill=kill)
    flawed = [seed for seed in range(10_000) if not run("link-rings", seed, workload).flawless]
    assert flawed == []


@pytest.mark.parametrize("name", ["publish-flag", "ikc", "ump"])
def test_the_other_rings_have_none_as_long_as_nobody_dies(name):
    for seed in range(60):
        assert run(name, seed, Workload(messages=4)).flawless, seed


@pytest.mark.rule("R17")
@pytest.mark.parametrize("depth", [1, 8, 64])
@pytest.mark.parametrize("name", ["link-rings", "publish-flag", "ikc", "ump"])
def test_stores_that_become_visible_late_but_in_order_break_no_ring(name, depth):
    """Release and acquire cost nothing on x86; only the doorbell needs its fence."""
    for seed in range(40):
        assert run(name, seed, Workload(messages=4, store_buffer=depth)).flawless, seed


@pytest.mark.parametrize("name", channels())
def test_the_same_seed_is_the_same_run(name):
    reports = [run(name, seed, Workload(kill=True)).as_dict() for seed in (7, 7, 8)]
    assert reports[0] == reports[1] != reports[2]


@pytest.mark.parametrize("name", channels())
def test_a_report_adds_up(name):
    for seed in range(5):
        report = run(name, seed, Workload(senders=2, messages=5))
        assert report.sent == 10
        assert report.sent == report.received + report.lost + report.held
        assert report.doorbells == (10 if CHANNELS[name].doorbell else 0)
        assert report.interrupts <= report.doorbells
        if report.doorbells:
            assert 0 <= report.coalescing_ratio < 1
        else:
            assert report.messages_per_doorbell is None


def test_latencies_are_those_that_a_share_does_not_exceed():
    report = Report(channel="any")
    assert report.latency(0.5) is None
    report.latencies.update([5, 5, 7, 9])
    assert [report.latency(share) for share in (0, 0.5, 0.51, 0.75, 0.99, 1)] == [5, 5, 7, 7, 9, 9]
    other = Report(channel="any", sent=2)
    other.latencies.update([1, 9])
    report.add(other)
    assert (report.runs, report.sent, report.latency(0.1), report.latency(1)) == (2, 2, 1, 9)


def test_doorbells_that_come_late_merge_and_lose_nothing():
    ratios = []
    for link_every in (2, 40):
        report = run("link-rings", 1, Workload(messages=12, gap=60, link_every=link_every))
        assert report.flawless
        ratios.append(report.coalescing_ratio)
    assert ratios[0] < ratios[1]


def test_a_full_ring_refuses_and_the_sender_comes_through_in_the_end():
    report = run("link-rings", 1, Workload(senders=3, messages=40, gap=0))
    assert report.refused > 0
    assert report.flawless


@pytest.mark.parametrize(
    "settings",
    [
        {"senders": 0},
        {"senders": 16},
        {"messages": 0},
        {"messages": 1001},
        {"size": 15},
        {"size": 257},
        {"gap": -1},
        {"link_every": 1},
        {"store_buffer": 65},
    ],
)
def test_a_workload_beyond_its_limits_is_refused(settings):
    with pytest.raises(InvalidArgumentError, match="out of range"):
        Workload(**settings)


def test_a_channel_that_raises_is_named():
    class Broken(LinkRings):
        name = "broken"

        def send(self, target, ipi_type, data):
            yield Nop()
            raise ValueError("mine")

    with pytest.raises(InvalidArgumentError, match=r"channel broken raised in mk1.*ValueError"):
        run_messages(Broken, 0, random.Random, Workload(senders=1))


# Requests between two kernels.


class Pair:
    """Instance 0 asks, instance 1 answers; ``answer`` decides how."""

    def __init__(self, **settings):
        configs = [KernelConfig(instance_id=n, name=f"mk{n}", apic_ids=(n,)) for n in (0, 1)]
        self.machine = Machine(configs)
        self.messages = []
        for number in (0, 1):
            kernel = self.machine.kernels[number]
            end = MultikernelIpi(kernel, LinkRings((0, 1), own=number), doorbells={0: 0, 1: 1})
            self.messages.append(MkMessages(end, spawn=1, **settings))

    def lines(self) -> list[str]:
        return [record.text for record in self.machine.kernels[0].log.since(0)]

    def go_on(self) -> None:
        """Turn by turn: one who waits for an answer never comes to rest by himself."""
        for _ in range(200):
            for kernel in self.machine.kernels.values():
                kernel.advance(20)
            self.machine.exchange()

    def ask(self, results: list[int]):
        asker = self.messages[0]

        def program(cpu):
            payload = CpuPayload(4, 0, 0, 0).encode()
            request = yield from asker.request(1, Subtype.MK_RES_CPU_ADD, payload, resource_id=4)
            results.append((yield from asker.wait(request)))

        self.machine.kernels[0].start_program(0, program)


@pytest.mark.parametrize("result", [0, -22])
def test_a_request_is_answered_over_channel_and_doorbell(result):
    pair = Pair()
    seen = []

    def answer(cpu, received, ctx):
        cpu_id = CpuPayload.decode(received.message.payload).cpu_id
        seen.append((received.sender, received.message.msg_id != 0))
        yield from pair.messages[1].acknowledge(
            received.sender, received.message, resource_id=cpu_id, result=result
        )

    pair.messages[1].register_handler(MkType.MK_MSG_RESOURCE, answer)
    results: list[int] = []
    pair.ask(results)
    pair.go_on()
    assert (results, seen) == ([result], [(0, True)])
    counts = [kernel.cpus[0].irq_stat.irq_call_count for kernel in pair.machine.kernels.values()]
    assert counts == [1, 1]
    assert pair.machine.bus.balance() == []


def test_a_request_that_nobody_answers_times_out_after_10_seconds():
    pair = Pair()
    results: list[int] = []
    pair.ask(results)
    pair.go_on()
    pair.machine.now_us += 9_999_999
    pair.go_on()
    assert results == []
    pair.machine.now_us += 1
    pair.go_on()
    assert results == [-ETIMEDOUT]
    assert "Timeout waiting for operation 0x2001 on resource 4" in pair.lines()


@pytest.mark.parametrize("unique_ids", [True, False])
def test_a_late_reply_completes_a_newer_request_only_without_unique_ids(unique_ids):
    pair = Pair(unique_ids=unique_ids)
    received_ones = []
    pair.messages[1].register_handler(
        MkType.MK_MSG_RESOURCE, lambda cpu, received, ctx: received_ones.append(received.message)
    )
    first: list[int] = []
    pair.ask(first)
    pair.go_on()
    pair.machine.now_us += 10_000_000
    pair.go_on()
    assert first == [-ETIMEDOUT]
    second: list[int] = []
    pair.ask(second)
    pair.go_on()
    answer = pair.messages[1].acknowledge(0, received_ones[0], resource_id=4)

    def late(cpu):
        yield from answer

    pair.machine.kernels[1].start_program(0, late)
    pair.go_on()
    assert second == ([] if unique_ids else [0])
    completes_nothing = "ACK of operation 0x2001 on resource 4 completes nothing"
    assert (completes_nothing in pair.lines()) == unique_ids


def test_a_shutdown_is_acknowledged():
    pair = Pair()

    def answer(cpu, received, ctx):
        assert received.message.msg_subtype == Subtype.MK_SYS_SHUTDOWN
        yield from pair.messages[1].acknowledge(0, received.message, resource_id=1)

    pair.messages[1].register_handler(MkType.MK_MSG_SYSTEM, answer)
    results: list[int] = []

    def program(cpu):
        request = yield from pair.messages[0].shut_down(1)
        assert request.deadline_us == 30_000_000
        results.append((yield from pair.messages[0].wait(request)))

    pair.machine.kernels[0].start_program(0, program)
    pair.go_on()
    assert results == [0]


@pytest.mark.parametrize("unique_ids", [True, False])
def test_an_ack_without_the_id_of_its_request_completes_it_only_upstream(unique_ids):
    pair = Pair(unique_ids=unique_ids)
    results: list[int] = []
    pair.ask(results)
    pair.go_on()
    forged = AckPayload(Subtype.MK_RES_CPU_ADD, 0, 4).encode()

    def forger(cpu):
        yield from pair.messages[1].send(0, MkType.MK_MSG_RESOURCE, Subtype.MK_RES_ACK, forged)

    pair.machine.kernels[1].start_program(0, forger)
    pair.go_on()
    assert results == ([] if unique_ids else [0])
