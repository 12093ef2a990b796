"""However many processes run the tests, one of them alone starts clusters."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent

CONFTEST = "from one_cluster import pytest_xdist_make_scheduler\n"

TESTS = """
import os
import pathlib

import pytest

{mark}

@pytest.mark.parametrize("number", range(20))
def test_notes_who_runs_it(number):
    with pathlib.Path({noted!r}).open("a") as file:
        file.write(os.environ["PYTEST_XDIST_WORKER"] + "\\n")
"""


def test_marked_files_share_a_worker(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(CONFTEST)
    for name, mark in (("a", True), ("b", False), ("c", True)):
        noted = str(tmp_path / ("marked" if mark else "others"))
        line = "pytestmark = pytest.mark.e2e" if mark else ""
        (tmp_path / f"test_{name}.py").write_text(TESTS.format(mark=line, noted=noted))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "2", "-p", "no:cacheprovider", str(tmp_path)],
        env=os.environ | {"PYTHONPATH": str(HERE)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert "60 passed" in done.stdout, done.stdout
    marked, others = ((tmp_path / name).read_text().split() for name in ("marked", "others"))
    assert (len(marked), len(set(marked))) == (40, 1)
    assert len(others) == 20
    assert set(others) - set(marked), "the other worker was idle"


@pytest.mark.parametrize("path", sorted((HERE / "e2e").glob("test_*.py")), ids=lambda p: p.stem)
def test_every_end_to_end_test_has_the_mark(path: Path) -> None:
    assert "mark.e2e" in path.read_text()
