"""Who decides how lowest-priority IPIs are arbitrated: the machine, whatever its kernels are."""

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


def test_kernels_that_contradict_one_another_make_no_machine() -> None:
    configs = [
        KernelConfig(
            instance_id=number,
            name=f"mk{number}",
            apic_ids=(number,),
            apic_policy=ApicPolicy(lowest_priority=arbitration),  # type: ignore[arg-type]
        )
        for number, arbitration in enumerate(["unsupported", "hash", "ppr"])
    ]
    with pytest.raises(InvalidArgumentError, match="'hash' in one kernel and 'ppr' in mk2"):
        Machine(configs)
    assert Machine(configs[:2]).bus.arbitration == "hash"
    assert Machine(configs, arbitration="ppr").bus.arbitration == "ppr"


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
