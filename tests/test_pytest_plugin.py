"""The pytest plugin as its users have it: their test file, a pytest of its own."""

from pathlib import Path

import pytest

import mkrpc

pytest_plugins = ["pytester"]

SAMPLE = """
import pytest
from mkrpc.client import apic
from mkrpc.topology import Topology
from mkrpc.x86.icr import fixed


def test_a_machine_in_one_thread(mk_machine):
    machine = mk_machine(instances=2, cpus=1)
    machine.inject(fixed(1, 0xEA))
    machine.settle()
    assert machine.cpu(1).irq_stat.irq_call_count == 1


def test_two_machines_of_a_topology_and_a_policy(mk_machine):
    one = mk_machine(Topology.of(instances=3, cpus=2))
    other = mk_machine(policy="filtered", mode="xapic", apic={"intr": "latched"})
    silent = {"lowest_priority": "unsupported"}
    third = mk_machine(Topology.from_dict({
        "apic": {"lowest_priority": "hash"},
        "instances": [{"id": 0, "cpus": [0], "apic": silent}],
    }))
    assert len(one.kernels) == 3
    assert other.bus.policy.name == "filtered"
    assert other.cpu(3).apic.policy.intr == "latched"
    assert third.bus.arbitration == "hash"
    assert other.cpu(3).apic.mode.name == "XAPIC"


@pytest.mark.mk_topology(instances=3, cpus=1, apic={"intr": "latched"})
def test_a_cluster_of_the_marker(mk_cluster):
    assert mk_cluster.client.inject(to=apic(2)).all_arrived
    assert len(mk_cluster.client.cluster().instances) == 3
    assert mk_cluster.client.cluster().apic == {"intr": "latched"}


@pytest.mark.mk_topology("pair.toml")
def test_a_cluster_of_a_file(mk_cluster):
    assert [i.name for i in mk_cluster.client.cluster().instances] == ["left", "right"]
"""

FILE = """
[[instances]]
id = 0
name = "left"
cpus = [0]

[[instances]]
id = 1
name = "right"
cpus = [1]
"""


@pytest.fixture
def users(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A folder of a user, in whose pytest every warning is an error."""
    # The package that is tested here, whichever one is installed.
    monkeypatch.setenv("PYTHONPATH", str(Path(mkrpc.__file__).parent.parent))
    pytester.makefile(".toml", pair=FILE)
    pytester.makeini(
        "[pytest]\naddopts = --strict-markers\nfilterwarnings = error\n"
        "asyncio_default_fixture_loop_scope = function\n"
    )
    return pytester


@pytest.mark.e2e
def test_the_fixtures_and_the_marker_in_a_users_tests(users):
    users.makepyfile(SAMPLE)
    done = users.runpytest_subprocess("-p", "no:cacheprovider", timeout=60)
    done.assert_outcomes(passed=4)


def test_the_marker_and_the_fixtures_explain_themselves(users):
    markers = users.runpytest_subprocess("--markers", timeout=60)
    markers.stdout.fnmatch_lines(["@pytest.mark.mk_topology(file=None*instances=2, cpus=2*"])
    users.makepyfile("")
    shown = users.runpytest_subprocess("--fixtures", timeout=60)
    shown.stdout.fnmatch_lines_random(["mk_machine*", "mk_cluster*", "mk_cluster_factory*"])


WRONG = {
    "instance=3": "*mk_topology: unknown argument instance; it takes file, instances, cpus*",
    "address='x', name='y'": "*mk_topology: unknown argument address, name;*",
    "3, 2": "*mk_topology: 2 files were given, it takes one*",
    "'pair.toml', file='pair.toml'": "*mk_topology: 2 files were given, it takes one*",
    "3": "*mk_topology: 3 is no file; give numbers by name: instances=, cpus=*",
    "'pair.toml', cpus=2": "*mk_topology: a file was given, and cpus beside it*",
    "'absent.toml'": "*mk_topology: absent.toml: cannot be read*",
    "apic='xen'": "*mk_topology: topology: apic: should be a table, not 'xen'*",
    "apic={'intr': 'late'}": "*mk_topology: topology: apic.intr: should be 'synchronous' or*",
    "instances=0": "*mk_topology: instances: 0 is not between 1 and 512*",
}


def test_a_marker_that_cannot_be_fails_its_test_in_so_many_words(users):
    """One file for all of them: each error is found by its own line, and nothing was started."""
    tests = [
        f"@pytest.mark.mk_topology({arguments})\ndef test_{number}(mk_cluster): pass\n"
        for number, arguments in enumerate(WRONG)
    ]
    users.makepyfile("import pytest\n" + "\n".join(tests))
    done = users.runpytest_subprocess("-p", "no:cacheprovider", timeout=60)
    done.assert_outcomes(errors=len(WRONG))
    for number, line in enumerate(WRONG.values()):
        head = f"*ERROR at setup of test_{number} *"
        done.stdout.fnmatch_lines([head, line], consecutive=True)
    done.stdout.no_fnmatch_line("*Traceback*")


@pytest.mark.e2e
def test_the_marker_takes_its_file_by_name_too(users):
    users.makepyfile(
        "import pytest\n"
        "@pytest.mark.mk_topology(file='pair.toml')\n"
        "def test_it(mk_cluster):\n"
        "    assert len(mk_cluster.client.cluster().instances) == 2\n"
    )
    done = users.runpytest_subprocess("-p", "no:cacheprovider", timeout=60)
    done.assert_outcomes(passed=1)
