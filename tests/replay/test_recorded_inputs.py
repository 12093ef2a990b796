"""Every public name of a recorded object is an input that is journalled, or changes nothing."""

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import mkrpc.instance.recording as of_instance
import mkrpc.interconnect.recording as of_bus
from mkrpc.compiled.build import MODULES
from mkrpc.instance.assembly import assemble
from mkrpc.instance.attachment import Attachment
from mkrpc.instance.boot import Boot
from mkrpc.instance.config import KernelConfig
from mkrpc.instance.kernel import Kernel
from mkrpc.interconnect.apic_bus import ApicBus
from mkrpc.interconnect.bucket import Buckets
from mkrpc.interconnect.faults import Faults
from mkrpc.interconnect.late import LateLoops
from mkrpc.interconnect.policy import Policy
from mkrpc.interconnect.recorded_inputs import FREQUENT, RARE
from mkrpc.interconnect.recording import open_bus
from mkrpc.interconnect.stalls import Stalls

ROOT = Path(__file__).parent.parent.parent / "mkrpc"

BUS_ATTRIBUTES = {
    "arbitration",
    "buckets",
    "clock",
    "ended",
    "epoch",
    "faults",
    "late",
    "ledger",
    "mirror",
    "policy",
    "stale_frames",
    "stalls",
    "takeover",
}
"""What the drivers may read of a bus; what of it they may change is in OF_PARTS."""

PART_READERS = {
    "buckets": {"available", "of", "take"},
    "faults": {
        "advance",
        "begin",
        "deadline_us",
        "end",
        "find",
        "judge",
        "of_link",
        "parted",
    },
    "late": {"forget", "of"},
    "stalls": {"look", "open"},
}
"""Methods that drivers do not call, or that change nothing that any input gives."""

KERNEL_READ_BY_DRIVERS = {"failed", "incarnation", "runnable"}
"""What a driver takes from a kernel beside its attachment: nothing that changes it."""


def public(kind: type) -> set[str]:
    return {
        name
        for name, value in inspect.getmembers(kind)
        if not name.startswith("_")
        and (inspect.isfunction(value) or isinstance(value, property | classmethod | staticmethod))
    }


@pytest.mark.pure  # a compiled class does not say which of its attributes are properties
@pytest.mark.parametrize(
    ("kind", "recording"), [(ApicBus, of_bus), (Attachment, of_instance)], ids=["bus", "attachment"]
)
def test_every_public_method_is_an_input_that_is_journalled_or_a_reader(kind, recording):
    """A new input that is in no journal would make every replay wrong: name it in INPUTS."""
    assert not recording.INPUTS & recording.READERS
    inputs = {name for name in recording.INPUTS if "." not in name}
    assert public(kind) == inputs | recording.READERS


@pytest.mark.parametrize("name", sorted(FREQUENT + RARE))
def test_every_input_of_the_bus_is_overridden(name):
    assert getattr(of_bus.RecordedBus, name) is not getattr(ApicBus, name)


@pytest.mark.parametrize("name", sorted(of_instance.INPUTS))
def test_every_input_of_an_attachment_is_overridden(name):
    assert name in vars(of_instance.RecordedAttachment)


@pytest.mark.pure  # an object of a compiled class does not list what it has
def test_a_bus_shows_nothing_else_that_could_be_changed_past_its_journal():
    bus = ApicBus(epoch=1, policy=Policy.named("bare-metal"))
    assert {name for name in vars(bus) if not name.startswith("_")} == BUS_ATTRIBUTES


@pytest.mark.parametrize(
    ("part", "kind"),
    [("buckets", Buckets), ("faults", Faults), ("late", LateLoops), ("stalls", Stalls)],
)
def test_every_method_of_a_part_is_an_input_that_is_journalled_or_a_reader(part, kind):
    inputs = {name.partition(".")[2] for name in of_bus.OF_PARTS if name.startswith(f"{part}.")}
    assert public(kind) == inputs | PART_READERS[part]


@pytest.mark.parametrize("name", of_bus.OF_PARTS)
def test_a_part_that_a_recorder_puts_a_method_into_is_not_compiled(name):
    """Objects of a compiled class take none, and nothing could be recorded with a build."""
    bus = ApicBus(epoch=1, policy=Policy.named("bare-metal"))
    assert type(getattr(bus, name.partition(".")[0])).__module__ not in MODULES


def test_drivers_touch_a_kernel_through_its_attachment_alone():
    tree = ast.parse((ROOT / "instance" / "process.py").read_text())
    used = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Attribute)
        and node.value.attr == "kernel"
    }
    assert used - {"log"} <= KERNEL_READ_BY_DRIVERS
    assert used <= set(dir(Kernel)) | {"failed", "incarnation", "log"}


def test_drivers_set_no_attribute_of_the_bus():
    for path in (ROOT / "interconnect").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            targets = node.targets if isinstance(node, ast.Assign) else []
            for target in targets:
                if isinstance(target, ast.Attribute) and isinstance(target.value, ast.Attribute):
                    assert target.value.attr not in ("bus", "_bus"), (path, node.lineno)


def test_a_replay_loads_no_grpc():
    code = "import sys, mkrpc.replay.run; print(*sorted(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert "mkrpc.replay.run" in done.stdout.split()
    assert not {name for name in done.stdout.split() if name.partition(".")[0] == "grpc"}


def test_without_recording_nothing_is_in_the_way():
    config = KernelConfig(instance_id=0, name="mk0", apic_ids=(0,))
    kernel, attachment = assemble(Boot(config=config, address="unix:/none"))
    assert type(attachment) is Attachment
    assert kernel.log._now_us is kernel.now_us
    with open_bus(None, epoch=1, policy=Policy.named("bare-metal")) as bus:
        assert type(bus) is ApicBus
