"""Every errno and every error of the validator has a test that raises it."""

import subprocess
import sys
from pathlib import Path

import document_refusals
import pytest

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "refusals.md"
ADVICE = "run python tests/document_refusals.py"


def test_the_page_has_every_place_that_refuses_and_a_test_of_each():
    watch = document_refusals.Watch(set())
    bare = [line.rpartition(" | ")[0] for line in document_refusals.page(watch).splitlines()]
    printed = PAGE.read_text().splitlines()
    assert [line.rpartition(" | ")[0] for line in printed] == bare, ADVICE
    assert [line for line in printed if line.endswith("| none |")] == []


@pytest.mark.full
@pytest.mark.timeout(600)
def test_the_tests_of_the_page_are_those_that_reach_them(tmp_path):
    script = ROOT / "tests" / "document_refusals.py"
    written = tmp_path / "refusals.md"
    done = subprocess.run(
        [sys.executable, script, written],
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert written.read_text() == PAGE.read_text(), ADVICE
