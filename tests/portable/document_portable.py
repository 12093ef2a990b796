"""Writes the table of tests/portable/README.md from the markers on the tests.

``python tests/portable/document_portable.py [OUTPUT]``; a test runs it and compares.
"""

import ast
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE / "README.md"
HEAD = "| number | what | test | rows | quick tier |"
RULE = "|---|---|---|---|---|"

NUMBERS = range(1, 55)
NOT_PORTABLE = {
    16: "the timer: its registers hold what they are given, but it never counts and never fires",
    17: "IPIs by hypercall: an interface of one hypervisor, not of the local APIC",
}
"""Why a number has no test."""


@dataclass(frozen=True, slots=True)
class PortableTest:
    """A test as its markers and its docstring say; ``rows`` 0: it has no counted table."""

    name: str
    file: str
    what: str
    numbers: tuple[int, ...]
    rules: tuple[str, ...]
    rows: int
    every: int


def tests() -> list[PortableTest]:
    """All test functions of this folder, save those of the folder's own proof."""
    found = []
    for file in sorted(HERE.glob("test_*.py")):
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                found.append(_described(node, file.name))
    return [test for test in found if test.file != "test_portable_coverage.py"]


def _described(node: ast.FunctionDef, file: str) -> PortableTest:
    calls = {
        decorator.func.attr: decorator
        for decorator in node.decorator_list
        if isinstance(decorator, ast.Call) and isinstance(decorator.func, ast.Attribute)
    }
    rows = calls.get("rows")
    every = {word.arg: _number(word.value) for word in rows.keywords} if rows else {}
    return PortableTest(
        name=node.name,
        file=file,
        what=(ast.get_docstring(node) or "").partition("\n")[0],
        numbers=tuple(ast.literal_eval(each) for each in _arguments(calls.get("portable"))),
        rules=tuple(ast.literal_eval(each) for each in _arguments(calls.get("rule"))),
        rows=_number(rows.args[0]) if rows else 0,
        every=every.get("every", 1),
    )


def _arguments(call: ast.Call | None) -> Iterable[ast.expr]:
    return call.args if call else ()


def _number(node: ast.expr) -> int:
    """A literal, or a sum or product of literals: a count may say how it comes about."""
    if not isinstance(node, ast.BinOp):
        return int(ast.literal_eval(node))
    left, right = _number(node.left), _number(node.right)
    assert isinstance(node.op, ast.Add | ast.Mult)
    return left + right if isinstance(node.op, ast.Add) else left * right


def page(text: str) -> str:
    """The page with its table as it should be."""
    introduction, _, _ = text.partition(HEAD)
    by_number = [(number, test) for number in NUMBERS for test in tests() if number in test.numbers]
    lines = {number: [_row(number, t) for n, t in by_number if n == number] for number in NUMBERS}
    for number, reason in NOT_PORTABLE.items():
        lines[number].append(f"| {number} | does not apply | {reason} | | |")
    table = [line for number in NUMBERS for line in lines[number]]
    return introduction + "\n".join([HEAD, RULE, *table]) + "\n"


def _row(number: int, test: PortableTest) -> str:
    rows = f"{test.rows:,}" if test.rows else ""
    quick = "all" if test.every == 1 else f"1 in {test.every}"
    return f"| {number} | {test.what} | [{test.name}]({test.file}) | {rows} | {quick} |"


def main() -> None:
    """Write the page to the file named on the command line, README.md of this folder by default."""
    output = Path(sys.argv[1]) if len(sys.argv) > 1 else PAGE
    output.write_text(page(PAGE.read_text()))


if __name__ == "__main__":
    main()
