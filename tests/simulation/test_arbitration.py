"""Who decides how lowest-priority IPIs are arbitrated: the machine; its kernels may not differ."""

from collections.abc import Mapping
from typing import Any

import pytest

from mkrpc.errors import InvalidArgumentError, TopologyError
from mkrpc.instance.config import KernelConfig, kernel_config
from mkrpc.outcome import Outcome
from mkrpc.simulation.machine import Machine
from mkrpc.topology import Topology
from mkrpc.x86.apic_policy import ApicPolicy
from mkrpc.x86.icr import DeliveryMode, DestinationMode, icr_word

LOWEST = icr_word(
    vector=0x51,
    destination=0b1111,
    delivery_mode=DeliveryMode.LOWEST_PRIORITY,
    destination_mode=DestinationMode.LOGICAL,
)
"""To all four CPUs, which are bits 0 to 3 of one cluster in x2APIC mode. 0x51 mod 4 is 1."""


def topology(machine: str, *instances: str) -> Mapping[str, Any]:
    """Two CPUs each, by what ``lowest_priority`` is in the tables."""
    return {
        "apic": {"lowest_priority": machine},
        "instances": [
            {"id": number, "cpu_count": 2, "apic": {"lowest_priority": own}}
            for number, own in enumerate(instances)
        ],
    }


@pytest.mark.rule("R32")
@pytest.mark.parametrize(("arbitration", "winner"), [("hash", 1), ("unsupported", 0)])
def test_clients_get_the_machine_s_where_no_kernel_sends(arbitration: str, winner: int) -> None:
    """And the lowest PPR, the first of equals, in a machine that names none."""
    whole = Topology.from_dict(topology(arbitration, "unsupported", "unsupported"))
    configs = [kernel_config(whole, spec.id) for spec in whole.instances]
    machine = Machine(configs, arbitration=whole.arbitration)
    tally = machine.inject(LOWEST)
    machine.settle()
    assert tally.legs == {(winner, 0, Outcome.DELIVERED): 1}


def kernels(*choices: Any) -> list[KernelConfig]:
    """One CPU each, by what ``lowest_priority`` is in them."""
    return [
        KernelConfig(
            instance_id=number,
            name=f"mk{number}",
            apic_ids=(number,),
            apic_policy=ApicPolicy(lowest_priority=choice),
        )
        for number, choice in enumerate(choices)
    ]


@pytest.mark.parametrize("arbitration", [None, "ppr", "hash"])
def test_kernels_that_contradict_one_another_make_no_machine(arbitration: Any) -> None:
    with pytest.raises(
        InvalidArgumentError, match=r"lowest_priority is '\w+' in mk\d, .*arbitrates"
    ):
        Machine(kernels("unsupported", "hash", "ppr"), arbitration=arbitration)


def test_the_machine_arbitrates_as_its_kernels_say() -> None:
    assert Machine(kernels("unsupported", "hash")).bus.arbitration == "hash"
    assert Machine(kernels("unsupported")).bus.arbitration == "ppr"
    assert Machine(kernels("unsupported"), arbitration="hash").bus.arbitration == "hash"


@pytest.mark.parametrize("arbitration", ["", "Hash", "unsupported", "fixed"])
def test_an_arbitration_that_is_none_is_refused(arbitration: Any) -> None:
    with pytest.raises(InvalidArgumentError, match=r"^arbitration is ") as caught:
        Machine(kernels("unsupported"), arbitration=arbitration)
    assert "'ppr', 'hash'" in caught.value.advice


def test_a_kernel_that_boots_later_may_not_contradict_the_machine() -> None:
    first, same, other, without = kernels("hash", "hash", "ppr", "unsupported")
    machine = Machine([first])
    with pytest.raises(InvalidArgumentError, match=r"'ppr' in mk2, .* by 'hash'"):
        machine.boot(other)
    assert list(machine.kernels) == [0]
    machine.boot(same)
    machine.boot(without)
    assert list(machine.kernels) == [0, 1, 3]


@pytest.mark.parametrize(
    ("machine", "own", "works"),
    [
        ("ppr", "unsupported", True),
        ("hash", "unsupported", True),
        ("hash", "hash", True),
        ("unsupported", "ppr", True),
        ("ppr", "hash", False),
        ("hash", "ppr", False),
        ("unsupported", "hash", False),
    ],
)
def test_an_instance_may_choose_whether_to_send_and_not_who_wins(
    machine: str, own: str, works: bool
) -> None:
    data = topology(machine, "unsupported", own)
    if works:
        assert Topology.from_dict(data).instances[1].apic.lowest_priority == own
        return
    with pytest.raises(TopologyError, match=r"instances\[1\]\.apic\.lowest_priority: ") as caught:
        Topology.from_dict(data)
    assert "in [apic]" in caught.value.advice
