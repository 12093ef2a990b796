"""From a topology to what one instance starts with."""

import json
from pathlib import Path

import dill
import pytest

from mkrpc.errors import InvalidArgumentError, NotFoundError, TopologyError
from mkrpc.instance.boot import boot_from_topology, kernel_config, load_callables
from mkrpc.instance.kernel import KernelConfig
from mkrpc.topology import Topology
from mkrpc.x86.apic_base import ApicMode

TOPOLOGY = Topology.from_dict(
    {
        "instances": [
            {"id": 0, "cpus": [0, 1]},
            {
                "id": 3,
                "name": "web",
                "cpus": [9, 4],
                "mode": "xapic",
                "programs": [{"cpu": 1, "entry": "json:loads"}],
                "handlers": ["json:dumps", "json:dump"],
                "panic_on_oops": True,
                "printk_records": 77,
                "boundary": "frame",
            },
        ]
    }
)


def one(cpu: object) -> None:
    """A callable of a script."""


def two(cpu: object) -> None:
    """Another one."""


def boot(instance_id: int = 3, **options):
    return boot_from_topology(TOPOLOGY, instance_id, address="unix:/x", **options)


def test_a_kernel_has_everything_that_its_instance_says():
    assert kernel_config(TOPOLOGY, 3) == KernelConfig(
        instance_id=3,
        name="web",
        apic_ids=(9, 4),
        mode=ApicMode.XAPIC,
        panic_on_oops=True,
        printk_records=77,
        boundary="frame",
        doorbells="0=0,3=9",
    )


def test_what_an_instance_does_not_say_is_as_a_kernel_has_it():
    assert kernel_config(TOPOLOGY, 0) == KernelConfig(
        instance_id=0, name="mk0", apic_ids=(0, 1), doorbells="0=0,3=9"
    )


@pytest.mark.parametrize("field", ["entry", "boundary", "xapic_ldr"])
@pytest.mark.parametrize("value", ["", "IDT", "words", None])
def test_a_choice_that_a_kernel_does_not_have_is_refused_by_name(field, value):
    with pytest.raises(InvalidArgumentError, match=f"^{field} is {value!r}$") as caught:
        KernelConfig(instance_id=0, name="mk0", apic_ids=(0,), **{field: value})
    assert repr(getattr(kernel_config(TOPOLOGY, 0), field)) in caught.value.advice


def test_an_instance_that_the_topology_lacks():
    with pytest.raises(NotFoundError, match="no instance 7"):
        boot(7)


def test_programs_and_handlers_of_the_topology_come_in_its_order():
    started = boot(memory=Path("/memory"))
    assert started.programs == [(1, json.loads)]
    assert started.handlers == [json.dumps, json.dump]
    assert (started.address, started.memory) == ("unix:/x", Path("/memory"))


def test_the_callables_of_a_script_come_after_those_of_the_topology():
    """Programs go by APIC id, handlers by instance id; those of others are left out."""
    given = {"programs": {0: [two], 9: [one]}, "handlers": {0: [two], 3: [one, two]}}
    web, host = boot(callables=given), boot(0, callables=given)
    assert web.programs == [(1, json.loads), (0, one)]
    assert web.handlers == [json.dumps, json.dump, one, two]
    assert (host.programs, host.handlers) == ([(0, two)], [two])


@pytest.mark.parametrize(
    "wrong",
    [{"handlers": ["json:nothing"]}, {"programs": [{"cpu": 0, "entry": "json:nothing"}]}],
    ids=lambda wrong: next(iter(wrong)),
)
def test_an_entry_that_names_nothing_keeps_the_instance_from_starting(wrong):
    topology = Topology.from_dict({"instances": [{"id": 0, "cpus": [0], **wrong}]})
    with pytest.raises(TopologyError, match="json has no callable 'nothing'"):
        boot_from_topology(topology, 0, address="unix:/x")


def test_callables_are_read_from_the_state_directory_if_a_script_gave_any(tmp_path):
    path = tmp_path / "programs.dill"
    assert load_callables(path) is None
    bell = 0xEA

    def closure() -> int:
        return bell

    path.write_bytes(dill.dumps({"programs": {4: [closure]}, "handlers": {}}, recurse=True))
    found = load_callables(path)
    assert found is not None
    assert [program() for program in found["programs"][4]] == [0xEA]


@pytest.mark.parametrize(
    ("address", "beats", "told", "where"),
    [
        ("unix:/x", None, "unix:/x.beats", "unix:/x.beats"),
        ("127.0.0.1:70", None, ":71", "127.0.0.1:71"),
        ("unix:/x", None, "", "None"),
        ("127.0.0.1:70", "127.0.0.1:72", "unix:/x.beats", "127.0.0.1:72"),
        ("127.0.0.1:70", "", ":71", "None"),
    ],
    ids=["told", "same host", "told nothing", "through a proxy", "no way through the proxy"],
)
def test_beats_go_where_the_welcome_says_unless_the_instance_has_a_way_of_its_own(
    address, beats, told, where
):
    """Past a proxy they would hold the lease of an instance that is cut off."""
    started = boot_from_topology(TOPOLOGY, 0, address=address, beats=beats)
    assert str(started.beats_at(told)) == where
