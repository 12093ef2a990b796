"""The switches of a topology: keys, values and defaults are those of the model (design 3.6)."""

import json
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from mkrpc.errors import TopologyError
from mkrpc.instance.config import KernelConfig, kernel_config
from mkrpc.topology import ApicSpec, InstanceSpec, Topology
from mkrpc.x86.apic_policy import ApicPolicy

HINTS = get_type_hints(ApicPolicy)
KERNEL_KEYS = (
    "panic_on_oops",
    "printk_records",
    "boundary",
    "entry",
    "multikernel",
    "apic_debug",
    "store_buffer",
    "foreign_stop",
    "spare_cpus",
    "lvt_error",
    "xapic_ldr",
    "initial_tpr",
)


def values_of(key: str) -> tuple[Any, ...]:
    return (True, False) if HINTS[key] is bool else get_args(HINTS[key])


def test_the_keys_of_apic_are_the_fields_of_the_policy() -> None:
    assert list(ApicSpec.model_fields) == [field.name for field in fields(ApicPolicy)]
    assert ApicSpec().as_policy() == ApicPolicy()
    assert ApicSpec().switches() == {}


@pytest.mark.parametrize(("key", "value"), [(key, v) for key in HINTS for v in values_of(key)])
def test_every_value_of_the_policy_is_one_of_the_key(key: str, value: object) -> None:
    assert ApicSpec(**{key: value}).as_policy() == ApicPolicy(**{key: value})  # type: ignore[arg-type]
    assert str(value).lower() in ApicSpec.choices(key)
    assert len(ApicSpec.choices(key)) == len(values_of(key))


@pytest.mark.parametrize("key", HINTS)
@pytest.mark.parametrize("value", ["", "maybe", "true", 1, None, ["ppr"]])
def test_no_other_value_is(key: str, value: object) -> None:
    with pytest.raises(ValidationError):
        ApicSpec(**{key: value})


def test_the_keys_of_a_kernel_have_the_defaults_of_its_configuration() -> None:
    plain = InstanceSpec(id=0)
    configured = {field.name: field.default for field in fields(KernelConfig)}
    for key in KERNEL_KEYS:
        assert getattr(plain, key) == configured[key], key


def test_a_kernel_is_configured_as_its_instance_says() -> None:
    said: dict[str, Any] = {
        "panic_on_oops": True,
        "printk_records": 7,
        "boundary": "frame",
        "entry": "fred",
        "multikernel": False,
        "apic_debug": True,
        "store_buffer": 5,
        "foreign_stop": "ignore",
        "spare_cpus": 1,
        "lvt_error": True,
        "xapic_ldr": "zero",
        "initial_tpr": 0x20,
    }
    assert set(said) == set(KERNEL_KEYS)
    spec = {"id": 3, "cpus": [4, 5], **said, "apic": {"icr_bit12": "gp"}}
    made = kernel_config(Topology.from_dict({"instances": [spec]}), 3)
    for key, value in said.items():
        assert getattr(made, key) == value
    assert made.apic_policy == ApicPolicy(icr_bit12="gp")


apic_tables = st.fixed_dictionaries(
    {}, optional={key: st.sampled_from(values_of(key)) for key in HINTS if key != "lowest_priority"}
)


@given(machine=apic_tables, own=apic_tables)
def test_an_instance_has_what_it_says_and_the_machine_s_otherwise(
    machine: dict[str, Any], own: dict[str, Any]
) -> None:
    data = {
        "mode": "xapic",
        "apic": machine,
        "instances": [{"id": 0, "cpus": [0], "apic": own}, {"id": 1, "cpus": [1]}],
    }
    topology = Topology.from_dict(data)
    first, second = topology.instances
    assert first.apic.as_policy() == ApicPolicy(**(machine | own))
    assert second.apic.as_policy() == topology.apic.as_policy() == ApicPolicy(**machine)
    again = Topology.from_dict(json.loads(json.dumps(topology.to_dict())))
    assert again == topology
    assert again.instances[0].switches(again.apic) == {
        f"apic.{key}": str(value).lower()
        for key, value in own.items()
        if value != machine.get(key, getattr(ApicPolicy(), key))
    }


BAD = {
    "a switch is misspelt": (
        '[apic]\nicr_bit21 = "gp"\n[[instances]]\nid = 0\ncpus = [0]\n',
        "line 2: apic.icr_bit21: unknown key, did you mean icr_bit12?",
        "known keys: lowest_priority, ",
    ),
    "a switch has no such value": (
        '[apic]\nicr_bit12 = "set"\n[[instances]]\nid = 0\ncpus = [0]\n',
        "line 2: apic.icr_bit12: should be 'cleared' or 'gp', not 'set'",
        "choose one of them",
    ),
    "a boolean is a word": (
        '[apic]\nxapic_id_writable = "no"\n[[instances]]\nid = 0\ncpus = [0]\n',
        "line 2: apic.xapic_id_writable: should be true or false, not 'no'",
        "correct",
    ),
    "an instance's switch": (
        '[[instances]]\nid = 0\ncpus = [0]\n[instances.apic]\nintr = "later"\n',
        "line 5: instances[0].apic.intr: should be 'synchronous' or 'latched', not 'later'",
        "choose one of them",
    ),
    "apic is no table": (
        'apic = "xen"\n[[instances]]\nid = 0\ncpus = [0]\n',
        "line 1: apic: should be a table, not 'xen'",
        "[apic]",
    ),
    "the machine hashes and an instance does not": (
        '[apic]\nlowest_priority = "hash"\n[[instances]]\nid = 0\ncpus = [0]\n'
        '[instances.apic]\nlowest_priority = "ppr"\n',
        "line 7: instances[0].apic.lowest_priority: 'ppr' in mk0, where the machine arbitrates "
        "by 'hash'",
        'set lowest_priority = "ppr" in [apic]',
    ),
    "x2APIC mode without x2APIC": (
        "[[instances]]\nid = 0\ncpus = [0]\napic = {x2apic_supported = false}\n",
        "line 4: instances[0].apic.x2apic_supported: false in mk0, whose mode is x2apic",
        'mode = "xapic"',
    ),
    "a machine without x2APIC in x2APIC mode": (
        "[[instances]]\nid = 0\ncpus = [0]\n[[instances]]\nid = 1\ncpus = [1]\n"
        "[apic]\nx2apic_supported = false\n",
        "line 8: apic.x2apic_supported: false in mk0 and 1 more, whose mode is x2apic",
        'mode = "xapic"',
    ),
    "handlers that an unpatched kernel cannot call": (
        "[[instances]]\nid = 0\ncpus = [0]\nhandlers = ['a:b']\nmultikernel = false\n",
        "line 4: instances[0].handlers: in mk0, which has multikernel = false",
        "leave out handlers, or multikernel = false",
    ),
    "an entry that is none": (
        '[[instances]]\nid = 0\ncpus = [0]\nentry = "ldt"\n',
        "line 4: instances[0].entry: should be 'idt' or 'fred', not 'ldt'",
        "choose one of them",
    ),
    "multikernel is no number": (
        "[[instances]]\nid = 0\ncpus = [0]\nmultikernel = 1\n",
        "line 4: instances[0].multikernel: should be true or false, not 1",
        "correct",
    ),
    "apic_debug is no word": (
        '[[instances]]\nid = 0\ncpus = [0]\napic_debug = "debug"\n',
        "line 4: instances[0].apic_debug: should be true or false, not 'debug'",
        "correct",
    ),
    "lvt_error is no vector": (
        "[[instances]]\nid = 0\ncpus = [0]\nlvt_error = 0xfe\n",
        "line 4: instances[0].lvt_error: should be true or false, not 254",
        "correct",
    ),
    "a store buffer is too large": (
        "[[instances]]\nid = 0\ncpus = [0]\nstore_buffer = 65\n",
        "line 4: instances[0].store_buffer: should be less than or equal to 64, not 65",
        "correct",
    ),
    "a TPR has 8 bits": (
        "[[instances]]\nid = 0\ncpus = [0]\ninitial_tpr = 0x100\n",
        "line 4: instances[0].initial_tpr: should be less than or equal to 255, not 256",
        "correct",
    ),
    "an LDR is flat or zero": (
        '[[instances]]\nid = 0\ncpus = [0]\nxapic_ldr = "cluster"\n',
        "line 4: instances[0].xapic_ldr: should be 'zero' or 'flat', not 'cluster'",
        "choose one of them",
    ),
}


@pytest.mark.parametrize(("text", "says", "advice"), BAD.values(), ids=BAD)
def test_a_bad_switch_is_one_line_with_file_line_and_key(
    tmp_path: Path, text: str, says: str, advice: str
) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(TopologyError) as caught:
        Topology.load(path)
    assert str(caught.value).startswith(f"{path}: {says}")
    assert "\n" not in str(caught.value)
    assert advice in caught.value.advice


def test_switches_beside_a_file_replace_those_of_its_table(tmp_path: Path) -> None:
    path = tmp_path / "machine.toml"
    path.write_text(
        '[apic]\nicr_bit12 = "gp"\nintr = "latched"\n'
        "[[instances]]\nid = 0\ncpus = [0]\n"
        '[[instances]]\nid = 1\ncpus = [1]\n[instances.apic]\nintr = "latched"\n'
    )
    topology = Topology.load(path, apic={"intr": "synchronous", "global_disable": "keep"})
    assert topology.apic.switches() == {"icr_bit12": "gp", "global_disable": "keep"}
    assert topology.instances[0].switches(topology.apic) == {}
    assert topology.instances[1].switches(topology.apic) == {"apic.intr": "latched"}
    path.write_text("apic = 3\n[[instances]]\nid = 0\ncpus = [0]\n")
    with pytest.raises(TopologyError, match="apic: should be a table, not 3"):
        Topology.load(path, apic={"intr": "latched"})


def test_a_machine_of_numbers_takes_switches_too() -> None:
    topology = Topology.of(instances=2, cpus=1, apic={"lowest_priority": "hash"})
    assert topology.arbitration == "hash"
    assert {spec.apic.lowest_priority for spec in topology.instances} == {"hash"}
    assert Topology.of(instances=2, cpus=1).arbitration == "ppr"
    with pytest.raises(TopologyError, match=r"topology: apic\.colour: unknown key"):
        Topology.of(instances=1, cpus=1, apic={"colour": "red"})


def test_rates_are_the_machine_s_where_an_instance_says_nothing():
    rate, own = {"writes_per_s": 2000, "burst": 7}, {"writes_per_s": 0, "burst": 9}
    instances = [{"id": 0, "cpu_count": 1}, {"id": 1, "cpu_count": 1, "rate": {"burst": 9}}]
    topology = Topology.from_dict({"rate": rate, "instances": instances})
    assert topology.rates() == {
        "instances": {"0": rate, "1": own},
        "clients": {"writes_per_s": 0, "burst": 0},
    }


def test_the_boot_cpu_is_no_spare_one() -> None:
    spec = {"id": 0, "cpu_count": 2, "spare_cpus": 2}
    with pytest.raises(TopologyError, match="2 of 2 CPUs are spare"):
        Topology.from_dict({"instances": [spec]})
