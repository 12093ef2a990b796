"""When ``mkrpc kill`` finds a channel between the host's kernel and the one that is to end."""

from dataclasses import replace

import pytest

from mkrpc import Topology
from mkrpc.errors import NotFoundError
from mkrpc.instance.config import kernel_config
from mkrpc.interconnect.errands import Errand, ask_for_cpu, send_message, shut_down_on_channel
from mkrpc.x86.icr import init_assert

CPUS = 2


@pytest.fixture
def machine(mk_machine):
    return mk_machine(instances=3, cpus=CPUS)


async def shut_down(machine, instance_id: int) -> int | None:
    """The driver's part is to move frames; here the whole machine runs until nothing moves."""
    return await shut_down_on_channel(machine.bus, machine.settle, instance_id)


async def test_both_live_and_it_parks(machine) -> None:
    assert await shut_down(machine, 1) == CPUS
    assert machine.kernels[1].hotplug.parking.complete
    assert machine.kernels[0].cpus[0].multikernel_count == 1, "the ACK"


async def test_what_has_parked_is_not_asked_again(machine) -> None:
    """Else a kill that was cut short would be followed by one that waits for 30 s."""
    assert await shut_down(machine, 1) == CPUS
    assert await shut_down(machine, 1) is None


async def test_a_boot_cpu_that_waits_for_sipi_is_not_asked(machine) -> None:
    """A start-up that was cut short leaves such a kernel."""
    machine.cpu(0).write_icr(init_assert(CPUS))
    machine.settle()
    assert await shut_down(machine, 1) is None


async def test_nobody_asks_the_host_or_without_one(machine) -> None:
    assert await shut_down(machine, 0) is None
    machine.crash(0)
    assert await shut_down(machine, 1) is None
    with pytest.raises(NotFoundError):
        await shut_down(machine, 0)


async def test_a_host_that_cannot_send_is_no_channel(machine) -> None:
    machine.cpu(1).write_icr(init_assert(0))  # its APIC is software-disabled then
    machine.settle()
    assert await shut_down(machine, 1) is None


@pytest.mark.parametrize("deaf", [0, 1])
async def test_a_kernel_without_the_patch_has_none(mk_machine, deaf) -> None:
    specs = [{"id": n, "cpu_count": 1, "multikernel": n != deaf} for n in range(2)]
    machine = mk_machine(Topology.from_dict({"instances": specs}))
    assert await shut_down(machine, 1) is None


async def test_one_that_ends_meanwhile_has_ended(machine) -> None:
    machine.kernels[1].cpus[0].interrupts_enabled = False  # it hears nothing

    def drain() -> None:
        machine.settle()
        if 1 in machine.kernels:
            machine.crash(1)

    assert await shut_down_on_channel(machine.bus, drain, 1) == 0


async def test_a_second_life_is_asked_anew(machine) -> None:
    assert await shut_down(machine, 1) == CPUS
    machine.crash(1)
    config = kernel_config(Topology.of(instances=3, cpus=CPUS), 1)
    machine.boot(replace(config, apic_ids=tuple(reversed(config.apic_ids))))
    assert await shut_down(machine, 1) == CPUS


async def test_a_message_and_a_request(machine) -> None:
    received = []
    machine.kernels[2].multikernel.register_handler(
        0x4000, lambda _cpu, delivery, _ctx: received.append(delivery.data)
    )
    assert machine.kernels[2].multikernel.hotplug is not None
    errand = Errand(machine.bus, machine.settle, 1, 2)
    end = await send_message(errand, 0x4000, "by way of an errand", patience_s=1)
    assert (end.way, end.fate) == ("memory", "taken")
    assert received == [b"by way of an errand"]
    await ask_for_cpu(errand, 5, online=False)
    assert machine.kernels[2].hotplug.offline == {1}
