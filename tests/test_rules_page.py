"""docs/rules.md: every rule has a row, a place in the code that names it, and a test."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "rules.md"
SCRIPT = ROOT / "tests" / "document_rules.py"
HOMES = ("mkrpc/x86", "mkrpc")
"""Where a file that the page names is looked for."""

RULES = [f"R{number}" for number in range(1, 63)]
CITED = re.compile(r"R(\d+)(?: to R(\d+))?")
NOWHERE = {"R11"}
"""A rule that only names others."""


@pytest.fixture(scope="module")
def documented() -> ModuleType:
    """The script that writes the page."""
    spec = importlib.util.spec_from_file_location("document_rules", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def rows() -> dict[str, list[str]]:
    cells = [
        [cell.strip() for cell in line.strip("|").split(" | ")]
        for line in PAGE.read_text().splitlines()
        if line.startswith("| R")
    ]
    return {row[0]: row for row in cells}


def cited_in(path: Path) -> set[str]:
    """The rules that a file names, ranges such as ``R31 to R42`` with all that lies in them."""
    found = set()
    for first, last in CITED.findall(path.read_text()):
        found |= {f"R{number}" for number in range(int(first), int(last or first) + 1)}
    return found


def test_every_rule_has_one_row():
    assert list(rows()) == RULES


def test_the_column_of_tests_is_that_of_the_markers(tmp_path: Path):
    output = tmp_path / "rules.md"
    subprocess.run([sys.executable, str(SCRIPT), str(output)], check=True)
    assert output.read_text() == PAGE.read_text(), f"run {SCRIPT.relative_to(ROOT)}"


def test_every_rule_is_shown_by_a_test(documented: ModuleType):
    shown = documented.tests_by_rule()
    assert [rule for rule in RULES if rule not in shown] == []
    assert sorted(set(shown) - set(RULES)) == [], "a marker names a rule that does not exist"


@pytest.mark.parametrize("rule", RULES)
def test_the_code_that_a_row_names_names_the_rule(rule: str):
    """From the number to the code, and back."""
    files = re.findall(r"`([\w/]+\.py)`", rows()[rule][3])
    paths = [next(p for home in HOMES if (p := ROOT / home / name).is_file()) for name in files]
    assert [str(path) for path in paths if rule not in cited_in(path)] == []
    if rule not in NOWHERE:
        assert paths
