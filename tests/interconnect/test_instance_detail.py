"""What `mkrpc show` says of an instance beside its state: why it is not active, in one line."""

import pytest

from mkrpc.interconnect.apic_bus import ApicBus
from mkrpc.interconnect.hosts import HostRegistry
from mkrpc.interconnect.instance_state import detail_of, pid_of
from mkrpc.interconnect.policy import Policy
from mkrpc.interconnect.registry import InstanceRecord

from .host_by_hand import Host, Timer, hosted


@pytest.mark.parametrize(
    ("fields", "after", "detail"),
    [
        ({}, {}, "not started yet"),
        ({"pid": 5, "running": True}, {}, "not attached yet"),
        ({"pid": 5, "running": True}, {"booting": True}, "its boot CPU has not come up yet"),
        ({"pid": 5, "exit_code": 3}, {}, "exit code 3"),
        ({"pid": 5, "exit_code": -9}, {}, "ended by SIGKILL"),
        ({}, {"failure": "ETIMEDOUT: CPU 0 is stuck"}, "ETIMEDOUT: CPU 0 is stuck"),
    ],
)
def test_of_one_that_never_attached(fields, after, detail):
    registry = HostRegistry(epoch=7, limit_silence=lambda _connection: Timer())
    Host(registry).hello(hosted(1, **fields))
    process = registry.processes[1]
    for key, value in after.items():
        setattr(process, key, value)
    bus = ApicBus(epoch=7, policy=Policy.bare_metal())
    assert detail_of(bus, None, process) == detail


@pytest.mark.parametrize(
    ("fields", "reason", "pid"),
    [
        ({"pid": 5, "running": True}, None, 5),
        ({"pid": 5, "running": True}, "lease expired: silent for 3 s", 5),
        ({"pid": 5, "exit_code": 3}, None, 0),
        ({"pid": 5, "exit_code": 0}, "left: asked to stop", 0),
        ({}, "left: asked to stop", 0),
        (None, "left: asked to stop", 0),
        (None, "lease expired: silent for 3 s", 5),
    ],
)
def test_the_number_of_a_process_is_told_while_it_runs_or_nobody_knows(fields, reason, pid):
    """After that the number may be another one's. ``fields`` None: it was started by hand;
    ``reason`` None: it was never attached."""
    process = record = None
    if fields is not None:
        registry = HostRegistry(epoch=7, limit_silence=lambda _connection: Timer())
        Host(registry).hello(hosted(1, **fields))
        process = registry.processes[1]
    if reason is not None:
        record = InstanceRecord(1, "mk1", bytes(16), 5, [], None, reason)
    assert pid_of(record, process) == pid
