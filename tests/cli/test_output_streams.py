"""Where output goes that nobody reads: no traceback, and an exit code that tells."""

import os
import subprocess
import sys

import pytest

from mkrpc.cli.output import check_reader

COMMAND = (sys.executable, "-m", "mkrpc", "compare", "--list")


def listing(**streams) -> subprocess.CompletedProcess[str]:
    return subprocess.run(COMMAND, text=True, timeout=100, check=False, **streams)


def test_a_full_disk_is_told_in_two_lines() -> None:
    with open("/dev/full", "w") as full:
        done = listing(stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 3
    what, advice = done.stderr.splitlines()
    assert what == "mkrpc: cannot write: No space left on device"
    assert advice.startswith("  → ")


def test_a_reader_that_has_gone_is_neither_yes_nor_no() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = listing(stdout=writer, stderr=subprocess.PIPE)
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


def test_a_pipe_is_known_to_have_no_reader_before_there_is_anything_to_print() -> None:
    """What shows a cluster as it moves would stay for as long as nothing does."""
    reader, writer = os.pipe()
    check_reader(writer)
    os.close(reader)
    with pytest.raises(BrokenPipeError):
        check_reader(writer)
    os.close(writer)
    with open(os.devnull, "w") as nowhere:
        check_reader(nowhere.fileno())


@pytest.mark.parametrize("closed", [">&-", ">&- 2>&-", ">&- 2>&- <&-", "<&-"])
def test_closed_streams_are_no_fault_of_the_command(closed: str) -> None:
    shell = ["sh", "-c", f'exec "$@" {closed}', "sh", *COMMAND]
    done = subprocess.run(shell, capture_output=True, text=True, timeout=100, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert bool(done.stdout) == (closed == "<&-")


@pytest.mark.parametrize(
    ("typed", "command"),
    [
        (("cpu", "1", "--ask"), "mkrpc cpu"),
        (("fault", "drop", "--every"), "mkrpc fault drop"),
    ],
)
def test_an_option_without_its_value_leads_to_the_help_of_its_command(
    run, told, typed, command
) -> None:
    done = run(*typed)
    assert done.exit_code == 2
    assert told(done)[1] == f"  → {command} --help"
