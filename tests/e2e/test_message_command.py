"""``mkrpc message`` and ``mkrpc cpu --ask`` as a person types them."""

import os
from pathlib import Path

import messengers
import pytest

from mkrpc.topology import Topology

pytestmark = pytest.mark.e2e

SERVE = "mkrpc.instance.multikernel.cpu_hotplug:serve_cpus"
INSTANCES = [
    {"id": 0, "name": "host", "cpus": [0]},
    {"id": 1, "name": "web", "cpus": [1], "programs": [{"cpu": 0, "entry": "messengers:listen"}]},
    {"id": 2, "name": "db", "cpus": [2, 3], "programs": [{"cpu": 0, "entry": SERVE}]},
    {"id": 3, "name": "idle", "cpus": [4]},
]


@pytest.mark.parametrize(
    ("links", "way"),
    [
        ("memory", "over shared memory"),
        pytest.param("interconnect", "through the interconnect", marks=pytest.mark.full),
    ],
)
def test_kernels_talk_as_they_are_told_to(
    mk_cluster_factory, shell, monkeypatch, assert_mirrors, *, links, way
) -> None:
    paths = [str(Path(messengers.__file__).parent), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
    cluster = mk_cluster_factory(Topology.from_dict({"links": links, "instances": INSTANCES}))
    typed = shell(cluster)

    said = typed.run("message", "host", "web", "hello there")
    assert (said.returncode, said.stderr) == (0, "")
    assert said.stdout == f"instance 1 (web) has taken it; sent {way}\n"
    assert "0 says hello there" in [each.text for each in cluster.client.log(1).records]
    assert typed.json("message", "2", "1", "and I") == {
        "from": 2,
        "to": 1,
        "way": links,
        "fate": "taken",
    }

    unheard = typed.run("message", "web", "idle", "is anybody there", "--wait", "0.2")
    assert unheard.returncode == 1
    assert unheard.stdout == ""
    assert unheard.stderr.startswith("instance 3 (idle) has not taken it in 0.2 s: ")

    for arguments, line in (
        (("message", "web", "web", "x"), "mkrpc: EINVAL: instance 1 cannot send to itself"),
        (("message", "web", "db", ""), "mkrpc: EINVAL: a message of 0 bytes"),
        (("message", "web", "nobody", "x"), "mkrpc: ENOENT: no instance nobody at "),
        (("cpu", "2", "--online", "off", "--ask", "host"), "mkrpc: EINVAL: instance 2 does not "),
        (("cpu", "0", "--online", "off", "--ask", "host"), "mkrpc: EINVAL: instance 0 cannot "),
    ):
        refused = typed.run(*arguments)
        assert refused.returncode == (2 if "EINVAL" in line else 3), refused.stderr
        assert refused.stderr.startswith(line), refused.stderr

    off = typed.run("cpu", "3", "--online", "off", "--ask", "host")
    assert off.returncode == 0, off.stderr
    assert "CPU 1 of instance 2: halted" in off.stdout
    assert cluster.client.interrupts(2).splitlines()[0].split() == ["CPU0"]
    on = typed.run("cpu", "3", "--online", "on", "--ask", "host")
    assert on.returncode == 0, on.stderr
    assert cluster.client.interrupts(2).splitlines()[0].split() == ["CPU0", "CPU1"]
    asked = [e.text for e in cluster.client.log(2).records if "hotplug" in e.text]
    assert "Multikernel hotplug: Cannot remove boot CPU" in asked
    assert_mirrors(cluster)
