"""The table of the seven patches: what it names exists."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "patches.md"
ROWS = [line for line in PAGE.read_text().splitlines() if re.match(r"\| \d/7 ", line)]
NAMED = sorted(set(re.findall(r"`([\w/]+\.py)(?:::(\w+))?`", PAGE.read_text())))


def test_there_are_seven_and_each_names_a_file_and_a_test():
    assert [row[2:5] for row in ROWS] == [f"{number}/7" for number in range(1, 8)]
    for row in ROWS:
        *_, here, tests, _ = row.split(" |")
        assert "`mkrpc/" in here
        assert "`tests/" in tests


@pytest.mark.parametrize(("path", "test"), NAMED)
def test_what_the_page_names_exists(path: str, test: str):
    assert (ROOT / path).is_file()
    if test:
        tree = ast.parse((ROOT / path).read_text())
        names = {
            node.name
            for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        }
        assert test in names
