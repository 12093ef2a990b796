"""What the end-to-end tests share: the command line as a user has it."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from mkrpc.client import Client
from mkrpc.cluster import Cluster

COMMAND_TIMEOUT_S = 60


@dataclass(frozen=True)
class Shell:
    """Runs ``mkrpc`` commands against one cluster."""

    name: str

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A command as typed, with ``--name`` added."""
        return subprocess.run(
            [sys.executable, "-m", "mkrpc", *arguments, "--name", self.name],
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
            env=os.environ | {"COLUMNS": "200"},
            check=False,
        )

    def json(self, *arguments: str) -> Any:
        """A command that succeeds, with ``--json``, read back."""
        done = self.run(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture
def shell() -> Callable[[Cluster], Shell]:
    """``shell(cluster)``: the command line for this cluster."""
    return lambda cluster: Shell(cluster.name)


def cal(cluster: Cluster, instance_id: int) -> list[int]:
    """The CAL row of an instance's /proc/interrupts."""
    for line in cluster.client.interrupts(instance_id).splitlines():
        label, _, rest = line.strip().partition(":")
        if label == "CAL":
            return [int(word) for word in rest.split() if word.isdigit()]
    raise AssertionError("no CAL row")


@pytest.fixture
def read_cal() -> Callable[[Cluster, int], list[int]]:
    """``read_cal(cluster, instance_id)``: irq_call_count per CPU, as a person reads it."""
    return cal


@pytest.fixture
def wait_for_state() -> Callable[[Client, int, str], None]:
    """``wait_for_state(client, instance_id, state)``: asks until it is so, or the test times out.

    By asking, not by watching: the end of a process is reported by its host agent, which is no
    event of the machine.
    """

    def wait(client: Client, instance_id: int, state: str) -> None:
        while client.find_instance(instance_id).state != state:
            continue

    return wait


@pytest.fixture
def assert_mirrors() -> Callable[[Cluster], None]:
    """At rest the mirror equals what each instance says of itself, and the books balance."""

    def check(cluster: Cluster) -> None:
        client = cluster.client
        client.quiesce()
        for instance in client.cluster().instances:
            if instance.state == "active":
                accounts = client.accounts(instance.id, from_instance=True)
                assert accounts.mirror == accounts.instance
        ledger = client.ledger()
        assert ledger.balanced, ledger.discrepancies
        assert ledger.totals.in_flight == 0

    return check
