"""Fills in the last column of docs/rules.md, the tests, from the markers on them.

``python tests/document_rules.py [OUTPUT]``; a test runs it and compares.
"""

import ast
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

TESTS = Path(__file__).parent
PAGE = TESTS.parent / "docs" / "rules.md"
RULE = re.compile(r"R\d+")
COLUMNS = 5
NAMED = 4
"""Tests that a row names; those that show the fewest rules come first."""

Shown = dict[str, list[tuple[int, str, str]]]
"""By rule: how many rules a test shows, its file below tests, its name."""


def main() -> None:
    """Write the page to the file named on the command line, docs/rules.md by default."""
    output = Path(sys.argv[1]) if len(sys.argv) > 1 else PAGE
    output.write_text(page(PAGE.read_text()))


def page(text: str) -> str:
    """The page with the cells of the last column as they should be."""
    shown = tests_by_rule()
    return "\n".join(_line(line, shown) for line in text.splitlines()) + "\n"


def tests_by_rule() -> Shown:
    """Which tests show which rule, by ``pytest.mark.rule`` on a test, its class, its module, or a
    row of its table."""
    shown: Shown = defaultdict(list)
    for file in sorted(TESTS.rglob("test_*.py")):
        module = ast.parse(file.read_text())
        at_top = [node for node in module.body if isinstance(node, ast.Assign)]
        everywhere = [node for node in at_top if _is_named(node, "pytestmark")]
        for name, nodes in _tests(module.body, everywhere):
            rules = _rules(nodes) | _rules(_tables(at_top, nodes))
            for rule in rules:
                where = str(file.relative_to(TESTS))
                shown[rule].append((len(rules), where, name))
    return shown


def _tests(body: Iterable[ast.stmt], markers: list[ast.AST]) -> Iterator[tuple[str, list[ast.AST]]]:
    """Every test function and what may carry its markers."""
    for node in body:
        if isinstance(node, ast.ClassDef):
            own = [inner for inner in node.body if _is_named(inner, "pytestmark")]
            yield from _tests(node.body, [*markers, *node.decorator_list, *own])
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and _is_test(node.name):
            yield node.name, [*markers, *node.decorator_list]


def _is_test(name: str) -> bool:
    return name.startswith("test_")


def _tables(at_top: list[ast.Assign], nodes: list[ast.AST]) -> list[ast.AST]:
    """The module's tables that the decorators of a test name."""
    names = {n.id for node in nodes for n in ast.walk(node) if isinstance(n, ast.Name)}
    return [table for table in at_top if any(_is_named(table, name) for name in names)]


def _is_named(node: ast.stmt, name: str) -> bool:
    return isinstance(node, ast.Assign) and any(
        isinstance(target, ast.Name) and target.id == name for target in node.targets
    )


def _rules(nodes: Iterable[ast.AST]) -> set[str]:
    calls = (n for node in nodes for n in ast.walk(node) if isinstance(n, ast.Call))
    return {
        argument.value
        for call in calls
        if isinstance(call.func, ast.Attribute) and call.func.attr == "rule"
        for argument in call.args
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
    }


def _line(line: str, shown: Shown) -> str:
    if not line.startswith("| "):
        return line
    cells = [cell.strip() for cell in line.strip().strip("|").split(" | ")]
    if RULE.fullmatch(cells[0]):
        cells[COLUMNS - 1 :] = [_cell(sorted(shown[cells[0]]))]
    return "| " + " | ".join(cells) + " |"


def _cell(tests: list[tuple[int, str, str]]) -> str:
    if not tests:
        return "none"
    named = [f"[{name}](../tests/{file})" for _, file, name in tests[:NAMED]]
    more = len(tests) - NAMED
    return ", ".join(named) + (f", and {more} more" if more > 0 else "")


if __name__ == "__main__":
    main()
