"""docs/entry.md says what is so: its commands and its program print what stands below them."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from mkrpc.cluster import remove
from mkrpc.state_dir import cluster_names
from mkrpc.topology import Topology

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "entry.md"
TOPOLOGY = ROOT / "deploy" / "topologies" / "entry.toml"

TIMEOUT_S = 60
MAX_LINE = 100

MASKED = (
    (re.compile(r"\[ *\d+\.\d{6}\]"), "[time]"),
    (re.compile(r"(unix:|removed )\S+"), r"\1path"),
)
"""What differs from run to run."""


def blocks(language: str) -> list[str]:
    text = PAGE.read_text()
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def masked(text: str) -> str:
    for pattern, replacement in MASKED:
        text = pattern.sub(replacement, text)
    return text


def sessions() -> list[tuple[str, str]]:
    """Every command of the page and the output printed below it."""
    found = re.findall(r"^\$ (.*)\n((?:[^$].*\n)*)", "".join(blocks("console")), re.MULTILINE)
    return [(command, output) for command, output in found]


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """A state directory of its own, short for the sake of its socket, and no trace of pytest."""
    directory = tempfile.mkdtemp(prefix="mk", dir="/tmp")
    monkeypatch.setenv("MKRPC_STATE_DIR", directory)
    yield {name: value for name, value in os.environ.items() if "PYTEST" not in name}
    for name in cluster_names():
        remove(name)  # left behind by a session that was cut short
    shutil.rmtree(directory)


def run(command: list[str], environment: dict[str, str]) -> str:
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.e2e
def test_the_commands_print_what_the_page_shows(environment: dict[str, str]) -> None:
    """On real processes, from the topology file."""
    mkrpc = f'mkrpc() {{ "{sys.executable}" -m mkrpc "$@"; }}\n'
    commands = sessions()
    assert len(commands) == 10
    for command, printed in commands:
        output = run(["bash", "-c", mkrpc + command], environment)
        assert masked(output) == masked(printed), command


def test_the_program_prints_what_the_page_shows(environment: dict[str, str]) -> None:
    (code,), (printed,) = blocks("python"), blocks("text")
    assert max(len(line) for line in code.splitlines()) <= MAX_LINE
    assert run([sys.executable, "-W", "error", "-c", code], environment) == printed


def test_the_topology_has_one_kernel_of_each_kind() -> None:
    kinds = [(spec.entry, spec.multikernel) for spec in Topology.load(TOPOLOGY).instances]
    assert kinds == [("idt", True), ("fred", True), ("idt", False)]
