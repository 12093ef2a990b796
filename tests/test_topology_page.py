"""docs/topology.md has every key of a topology, with its values and its default."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
from pydantic.fields import FieldInfo

from mkrpc.topology import ApicSpec, FaultSpec, InstanceSpec, ProgramSpec, RateSpec, Topology

PAGE = Path(__file__).parent.parent / "docs" / "topology.md"
TABLES = {
    "The machine": Topology,
    "`[apic]` and `[instances.apic]`": ApicSpec,
    "`[rate]`, `[client_rate]` and `[instances.rate]`": RateSpec,
    "`[[instances]]`": InstanceSpec,
    "`[[instances.programs]]`": ProgramSpec,
    "`[[faults]]`": FaultSpec,
}


def rows(title: str) -> Iterator[list[str]]:
    """Key, values and default of every row below a title."""
    section = PAGE.read_text().split(f"\n## {title}\n")[1].split("\n## ")[0]
    for line in section.splitlines():
        if line.startswith("| `"):
            key, values, default, _ = (cell.strip() for cell in line.strip("|").split(" | ", 3))
            yield [key.strip("` "), values, default]


def values_of(field: FieldInfo) -> str | None:
    """How the page should print what a key may be; None for what is said in words."""
    if get_origin(field.annotation) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(field.annotation))
    if field.annotation is bool:
        return "`true`, `false`"
    if field.annotation is not int:
        return None
    lowest = highest = 0
    for bound in field.metadata:
        assert not hasattr(bound, "gt"), bound
        lowest = getattr(bound, "ge", lowest)
        highest = getattr(bound, "lt", getattr(bound, "le", highest - 1) + 1) - 1
    return f"{lowest} to {highest}"


def default_of(field: FieldInfo) -> Any:
    """As in TOML; None for what is said in words."""
    if field.is_required():
        return "required"
    match field.default:
        case bool():
            return f"`{field.default}`".lower()
        case str() if field.default:
            return f"`{field.default}`"
        case int():
            return field.default
        case _:
            return None


@pytest.mark.parametrize(("title", "model"), TABLES.items(), ids=TABLES)
def test_every_key_has_its_row(title: str, model: Any) -> None:
    assert [key for key, _, _ in rows(title)] == list(model.model_fields)


@pytest.mark.parametrize(
    ("model", "row"),
    [
        pytest.param(model, row, id=f"{model.__name__}.{row[0]}")
        for title, model in TABLES.items()
        for row in rows(title)
    ],
)
def test_a_row_has_the_values_and_the_default_of_the_code(model: Any, row: list[str]) -> None:
    key, values, default = row
    field = model.model_fields[key]
    assert values_of(field) in (values, None)
    if default == "the machine's":
        assert key in Topology.model_fields
        return
    expected = default_of(field)
    assert (int(default, 0) if isinstance(expected, int) else default) == expected or (
        expected is None
    )


def test_the_whole_one_is_a_topology_and_says_what_it_seems_to_say() -> None:
    (text,) = re.findall(r"^```toml\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    topology = Topology.from_dict(tomllib.loads(text))
    host, fred, old = topology.instances
    assert (topology.arbitration, host.apic, fred.apic) == ("hash", topology.apic, topology.apic)
    assert (host.programs[0].cpu, fred.cpus, old.cpus) == (1, (6, 7), (4, 5))
    assert topology.apic.switches() == {
        "icr_bit12": "gp",
        "intr": "latched",
        "lowest_priority": "hash",
    }
    assert old.switches(topology.apic) == {
        "apic.icr_busy": "queue",
        "apic.lowest_priority": "unsupported",
        "apic.x2apic_supported": "false",
        "apic_debug": "true",
        "initial_tpr": "0",
        "lvt_error": "true",
        "multikernel": "false",
        "xapic_ldr": "zero",
    }
    assert old.apic.icr_bit12 == "gp", "what it does not say is the machine's"
