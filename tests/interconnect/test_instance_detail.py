"""What `mkrpc show` says of an instance beside its state: why it is not active, in one line."""

import pytest

from mkrpc.interconnect.apic_bus import ApicBus
from mkrpc.interconnect.hosts import HostRegistry
from mkrpc.interconnect.instance_state import detail_of
from mkrpc.interconnect.policy import Policy

from .host_by_hand import Host, Timer, hosted


@pytest.mark.parametrize(
    ("fields", "after", "detail"),
    [
        ({}, {}, "not started yet"),
        ({"pid": 5, "running": True}, {}, "not attached yet"),
        ({"pid": 5, "running": True}, {"booting": True}, "its boot CPU has not come up yet"),
        ({"pid": 5, "exit_code": 3}, {}, "exit code 3"),
        ({"pid": 5, "exit_code": -9}, {}, "ended by signal 9"),
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
