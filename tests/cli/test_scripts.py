"""deploy/launch.sh and tests/run.sh: wherever they are called from (README, the two commands)."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mkrpc.cluster import remove
from mkrpc.state_dir import cluster_names

CLONE = Path(__file__).parents[2]
LAUNCH = CLONE / "deploy" / "launch.sh"
RUN = CLONE / "tests" / "run.sh"
SCRIPTS = {"launch.sh": LAUNCH, "run.sh": RUN}

Script = Callable[..., subprocess.CompletedProcess[str]]


def prepared(directory: Path) -> Path:
    """An environment that the scripts take for theirs: the one in which the tests run."""
    binaries = directory / "bin"
    binaries.mkdir(parents=True)
    for name, command in (("python", ""), ("mkrpc", "-m mkrpc")):
        (binaries / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {command} "$@"\n')
        (binaries / name).chmod(0o755)
    wanted = (CLONE / "pyproject.toml").read_bytes()
    stamp = subprocess.run(["cksum"], input=wanted, stdout=subprocess.PIPE, check=True).stdout
    for extra in ("", "-dev"):
        (directory / f".mkrpc-installed{extra}").write_bytes(stamp)
    return directory


@pytest.fixture
def call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mk_cluster_factory: object
) -> Iterator[Script]:
    """Runs a script from a directory that is not the clone's.

    ``mk_cluster_factory`` gives a state directory, so that a script that starts what it should not
    does so there, where it is stopped again.
    """
    monkeypatch.chdir(tmp_path)
    environment = os.environ | {"MKRPC_VENV": str(prepared(tmp_path / "venv"))}

    def run(script: Path | str, *args: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [script, *args],
            capture_output=True,
            text=True,
            timeout=100,
            env=environment,
            check=False,
        )

    yield run
    for name in cluster_names():
        remove(name)


@pytest.mark.parametrize("option", ["-h", "--help"])
@pytest.mark.parametrize("name", SCRIPTS)
def test_help_is_the_scripts_own_from_wherever_and_does_nothing_else(call, name, option):
    from_elsewhere = os.path.relpath(SCRIPTS[name])
    result = call(from_elsewhere, option)
    assert result.returncode == 0
    assert result.stderr == ""
    first, *_, last = result.stdout.splitlines()
    assert first in SCRIPTS[name].read_text()
    assert last.strip().startswith(("deploy/launch.sh", "tests/run.sh"))


def test_help_is_found_through_a_link(call, tmp_path):
    link = tmp_path / "start"
    link.symlink_to(LAUNCH)
    result = call(link, "--help")
    assert (result.returncode, result.stderr) == (0, "")
    assert "--once" in result.stdout


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--nonsense"], "unknown argument --nonsense"),
        (["--once", "stray"], "unknown argument stray"),
        (["--topology"], "needs a file"),
        (["--name"], "needs a name"),
        (["--name", ""], "needs a name"),
    ],
    ids=["unknown option", "stray word", "no file", "no name", "empty name"],
)
def test_launch_refuses_what_it_does_not_know_with_2(call, args, says):
    result = call(LAUNCH, *args)
    assert result.returncode == 2
    what, advice = result.stderr.splitlines()
    assert what.startswith("launch.sh: ")
    assert says in what
    assert advice.startswith("  → ")


def test_run_exits_2_for_what_pytest_does_not_know(call):
    result = call(RUN, "--nonsense-option")
    assert result.returncode == 2
    assert "--nonsense-option" in result.stderr


def test_run_takes_paths_of_the_clone_from_wherever_and_keeps_pytests_verdict(call):
    one = "tests/cli/test_arguments.py"
    assert call(RUN, "--collect-only", "-q", one).returncode == 0
    nothing_collected = 5
    assert call(RUN, "-q", one, "-k", "no_such_test").returncode == nothing_collected


@pytest.mark.parametrize("tier", ["quick", "full"])
def test_the_full_tier_is_more_than_the_quick_one(call, tier):
    """One test of a file is marked ``full``: pytest's own figure says that it was left out."""
    options = ["--full"] if tier == "full" else []
    result = call(RUN, "--collect-only", "-q", "tests/link/test_memory.py", *options)
    assert result.returncode == 0
    assert ("[million]" in result.stdout) == (tier == "full")
    assert ("1 deselected" in result.stdout) == (tier == "quick")


@pytest.mark.parametrize(("options", "examples"), [([], 100), (["--full"], 1000)])
def test_hypothesis_tries_ten_times_as_much_in_the_full_tier(call, tmp_path, options, examples):
    test = tmp_path / "test_profile.py"
    test.write_text(
        "from hypothesis import settings\n\n"
        f"def test_examples():\n    assert settings().max_examples == {examples}\n"
    )
    # The clone's conftest, as for its own tests.
    tests = f"pythonpath={CLONE / 'tests'}"
    arguments = ["-q", "-p", "no:cacheprovider", f"--confcutdir={CLONE}", "-o", tests, *options]
    result = call(RUN, *arguments, "-p", "tests.conftest", str(test))
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.e2e
def test_launch_finds_a_topology_where_it_was_called(call, tmp_path):
    (tmp_path / "mine.toml").write_text(
        "[[instances]]\nid = 0\ncpus = [0]\n[[instances]]\nid = 7\nname = 'web'\ncpus = [4]\n"
    )
    result = call(LAUNCH, "--once", "--name", "elsewhere", "--topology", "mine.toml")
    assert result.returncode == 0, result.stderr
    assert "web -> mk0: delivered" in result.stdout
    assert "the books balance" in result.stdout
    assert list(Path(os.environ["MKRPC_STATE_DIR"]).iterdir()) == []


@pytest.mark.e2e
def test_launch_names_a_topology_that_is_not_there_as_it_was_typed(call):
    result = call(LAUNCH, "--once", "--topology", "absent.toml")
    assert result.returncode == 2
    assert result.stderr.splitlines()[0].startswith("mkrpc: absent.toml")
