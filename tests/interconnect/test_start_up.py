"""INIT and SIPI from the host's boot CPU, and how far a boot CPU came that does not come up."""

import asyncio
from functools import partial

import pytest

from mkrpc.errors import NoCpuError, StuckError, UnavailableError
from mkrpc.interconnect import start_up
from mkrpc.interconnect.policy import Policy
from mkrpc.interconnect.start_up import START_PAGE, boot_by_host, host_of, ring_nmi
from mkrpc.outcome import Outcome
from mkrpc.x86.icr import DeliveryMode, decode, init_assert, startup

from .ward import make_ward

SHORT_S = 0.05


@pytest.fixture
def ward(machine):
    """``ward(...)``: as :func:`make_ward`."""
    return partial(make_ward, machine)


async def test_init_then_two_sipis_and_it_is_online(ward):
    made = ward()
    made.go_online(1)
    made.wire.peers[1].push()
    assert await boot_by_host(made.wire.bus, made.drain, 1) == 4
    assert made.words == [init_assert(4), startup(4, START_PAGE), startup(4, START_PAGE)]
    assert host_of(made.wire.bus) is made.wire.peers[0].session


async def test_nobody_waits_for_a_spare_cpu_which_stays_offline(ward, monkeypatch):
    """``spare_cpus`` of the instance: an exec that waited for them would do so in vain."""
    monkeypatch.setattr(start_up, "OTHERS_TIMEOUT_S", 3600.0)
    made = ward()
    async with asyncio.timeout(60):
        assert await boot_by_host(made.wire.bus, made.drain, 1, spare_cpus=1) == 4
    assert not made.wire.peers[1].session.addresses[1].software_enabled


@pytest.mark.parametrize(
    ("settings", "how"),
    [
        (
            {"takes_sipi": Outcome.REJECTED_APIC_DISABLED},
            "is not responding (INIT: delivered, SIPI: rejected(apic_disabled), "
            "SIPI: rejected(apic_disabled))",
        ),
        (
            {"comes_online": False},
            "is stuck: it began and did not come online within 0.05 s (INIT: delivered, "
            "SIPI: delivered, SIPI: rejected(not_waiting_for_sipi))",
        ),
    ],
)
async def test_how_far_it_came_is_told(ward, settings, how):
    made = ward(**settings)
    with pytest.raises(StuckError) as caught:
        await boot_by_host(made.wire.bus, made.drain, 1, timeout_s=SHORT_S)
    assert str(caught.value) == f"ETIMEDOUT: CPU 0 of instance 1 (kernel1), APIC id 4, {how}"
    assert caught.value.errno_name == "ETIMEDOUT"
    assert "mkrpc fault list" in caught.value.advice


async def test_the_policy_filtered_lets_the_host_boot_whom_it_gave_cpus(ward):
    made = ward(policy=Policy.filtered())
    made.go_online(1)
    assert await boot_by_host(made.wire.bus, made.drain, 1, timeout_s=SHORT_S) == 4


async def test_a_host_whose_kernel_answers_nothing_wrote_no_icr(ward):
    made = ward()
    with pytest.raises(StuckError) as caught:
        await boot_by_host(made.wire.bus, lambda: None, 1, timeout_s=SHORT_S)
    said = "is not responding within 0.05 s (INIT: not written by the host)"
    assert str(caught.value).endswith(said)
    made.drain()
    assert made.words == []
    assert made.wire.bus.quiet()


async def test_what_the_boot_cpu_does_not_answer_is_in_flight(ward):
    made = ward()

    def drain() -> None:
        host = made.wire.peers[0]
        host.pull()
        made.obey()
        host.push()

    with pytest.raises(StuckError) as caught:
        await boot_by_host(made.wire.bus, drain, 1, timeout_s=SHORT_S)
    assert str(caught.value).endswith("is not responding within 0.05 s (INIT: in flight)")
    made.drain()
    assert made.words == [init_assert(4)]
    assert made.wire.bus.quiet()


async def test_nobody_can_send_without_a_host(ward):
    made = ward()
    made.wire.peers[0].die()
    with pytest.raises(NoCpuError, match="ENODEV: the host instance is not active") as caught:
        await boot_by_host(made.wire.bus, made.drain, 1)
    assert "mkrpc exec --direct" in caught.value.advice
    assert not ring_nmi(made.wire.bus, made.drain, 1)


async def test_one_that_ends_meanwhile_says_how(ward):
    made = ward(comes_online=False)
    began = asyncio.Event()
    made.on_sipi = began.set
    booting = asyncio.ensure_future(boot_by_host(made.wire.bus, made.drain, 1))
    await began.wait()
    made.wire.peers[1].die("killed by signal 9")
    with pytest.raises(UnavailableError, match="ended during start-up: killed by signal 9"):
        await booting


async def test_whoever_waits_no_longer_leaves_nothing_open(ward):
    made = ward()
    booting = asyncio.ensure_future(boot_by_host(made.wire.bus, lambda: None, 1))
    await asyncio.sleep(0)
    booting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await booting
    made.drain()
    assert made.words == []
    assert made.wire.bus.quiet()


def test_an_nmi_to_every_cpu_of_another_and_none_to_the_host_itself(ward):
    made = ward()
    assert ring_nmi(made.wire.bus, made.drain, 1)
    spawn = made.wire.peers[1]
    assert [(decode(word).delivery_mode, cpu) for _, _, word, cpu in spawn.legs] == [
        (DeliveryMode.NMI, 0),
        (DeliveryMode.NMI, 1),
    ]
    assert not ring_nmi(made.wire.bus, made.drain, 0)
