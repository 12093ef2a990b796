"""``python -m mkrpc.instance``: what an operator can get wrong is told in two lines."""

import logging
import subprocess
import sys
from collections.abc import Iterator

import pytest
import structlog
from click.testing import CliRunner

from mkrpc.instance.by_hand import main
from mkrpc.limits import MAX_CPUS

CANNOT_BE = [
    (["--apic-ids", "x"], "'x' is no APIC id"),
    (["--apic-ids", ""], "'' is no APIC id"),
    (["--apic-ids", "1,,2"], "'' is no APIC id"),
    (["--apic-ids", "-3"], "'-3' is no APIC id"),
    (["--apic-ids", "\N{SUPERSCRIPT TWO}"], "is no APIC id"),
    (["--apic-ids", "9" * 5000], "is no APIC id"),
    (["--apic-ids", "5-3"], "'5-3' of APIC ids is empty"),
    (["--apic-ids", "0-4294967295"], f"more than {MAX_CPUS} CPUs"),
    (["--apic-ids", f"0-{MAX_CPUS}"], f"more than {MAX_CPUS} CPUs"),
    (["--apic-ids", f"0-{MAX_CPUS - 1},{MAX_CPUS}"], f"more than {MAX_CPUS} CPUs"),
    (["--apic-ids", "4294967295"], "0xffffffff"),
    (["--apic-ids", "4,4"], "APIC id 4 more than once"),
    (["--id", "512"], "less than 512"),
    (["--instance-name", "Web"], "instances[0].name"),
    (["--program", "package.module:name"], "names no CPU"),
    (["--program", "\N{SUPERSCRIPT TWO}=package.module:name"], "names no CPU"),
    (["--program", f"{'9' * 5000}=package.module:name"], "names no CPU"),
    (["--program", f"{MAX_CPUS}=package.module:name"], "programs[0].cpu"),
    (["--program", "1=os.path:join"], "programs[0]"),
    (["--program", "0=nowhere_at_all:name"], "nowhere_at_all"),
    (["--handler", "os.path"], "handlers[0]"),
]


@pytest.fixture
def run() -> Iterator:
    """The command with an id, one CPU and an address that nobody serves, unless given."""
    given = {"--connect": "unix:/nobody/is/here", "--id": "1", "--apic-ids": "4"}

    def invoke(*args: str):
        options = given | dict(zip(args[::2], args[1::2], strict=True))
        return CliRunner().invoke(main, [word for pair in options.items() for word in pair])

    log = logging.getLogger()
    handlers, level = log.handlers[:], log.level
    yield invoke
    # The command sets up the log of its process, which here is that of all the tests.
    log.handlers[:] = handlers
    log.setLevel(level)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


@pytest.mark.parametrize(("args", "says"), CANNOT_BE, ids=[" ".join(a)[:40] for a, _ in CANNOT_BE])
def test_what_cannot_be_exits_2_with_what_and_what_to_do(run, args, says):
    result = run(*args)
    assert (result.exit_code, type(result.exception)) == (2, SystemExit), result.output
    what, advice = result.stderr.splitlines()
    assert what.startswith("mkrpc.instance: ")
    assert says in what
    assert len(what) < 200
    assert advice.startswith("  → ")


def test_as_many_cpus_as_there_may_be_are_no_error(run):
    """It goes on to the connection, and finds nobody."""
    result = run("--apic-ids", f"8-{MAX_CPUS + 6},4096")
    assert result.exit_code == 3
    assert "/nobody/is/here" in result.stderr


def test_nobody_to_attach_to_exits_3_without_a_traceback():
    options = ["--connect", "unix:/nobody/is/here", "--id", "1", "--apic-ids", "4"]
    command = [sys.executable, "-m", "mkrpc.instance", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("  → ")
