"""Arguments of recorded calls, as JSON and back."""

import pytest

from mkrpc.errors import InvalidArgumentError
from mkrpc.instance.config import KernelConfig
from mkrpc.interconnect.policy import Policy
from mkrpc.journal.values import from_plain, to_plain
from mkrpc.link.frames import CommandKind, ResolvedRun


def no_reference(*_: object) -> None:
    return None


@pytest.mark.parametrize(
    "value",
    [
        None,
        [1, "two", 3.5, False],
        (b"\x00\xff", {1, 2}, frozenset({"a"})),
        {1: "one", (2, 3): b""},
        CommandKind.WRITE_ICR,
        ResolvedRun(1, 7),
        KernelConfig(instance_id=1, name="one", apic_ids=(2, 3)),
    ],
)
def test_a_value_comes_back_as_it_was(value: object) -> None:
    assert from_plain(to_plain(value, no_reference), no_reference) == value


def test_what_is_no_dataclass_comes_back_by_what_it_is_made_of() -> None:
    back = from_plain(to_plain(Policy.filtered(), no_reference), no_reference)
    assert (back.name, back.rules) == ("filtered", Policy.filtered().rules)


@pytest.mark.parametrize(
    "name",
    [
        "os:system",
        "mkrpc.state_dir:os.system",
        "mkrpc.state_dir:remove_dir",
        "mkrpc.state_dir:Path",
        "mkrpc.link.frames:NoSuchThing",
        "mkrpc.link.frames:",
        "mkrpc.no_such_module:Thing",
        "mkrpc.__main__:Thing",
        "",
    ],
)
@pytest.mark.parametrize("kind", ["object", "enum"])
def test_a_forged_journal_names_nothing_but_classes_of_mkrpc(name: str, kind: str) -> None:
    content: object = {"command": "exit 1"} if kind == "object" else "name"
    with pytest.raises(InvalidArgumentError, match="no class of mkrpc"):
        from_plain({kind: [name, content]}, no_reference)
