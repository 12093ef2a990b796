"""Writes docs/refusals.md: every errno and error of the validator, with a test that raises it.

``python tests/document_refusals.py [OUTPUT]`` runs the tests of these rooms and watches which lines
they reach; a test runs it and compares. What no test reaches stands there with "none", and makes
this exit with 1.
"""

import ast
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "refusals.md"
ROOMS = {
    "mkrpc/instance/multikernel": ("mkrpc/instance/multikernel",),
    "mkrpc/devicetree": ("mkrpc/devicetree",),
    "The lifecycle": (
        "mkrpc/lifecycle.py",
        *(f"mkrpc/interconnect/{name}.py" for name in ("lifecycle", "parking", "cpu_pool")),
        *("mkrpc/interconnect/cpu_hotplug.py", "mkrpc/instance/cpu_slots.py"),
        "mkrpc/interconnect/image.py",
        *("mkrpc/interconnect/start_up.py", "mkrpc/interconnect/kernfs.py"),
        *("mkrpc/host/kept.py", "mkrpc/host/orders.py", "mkrpc/host/hello.py"),
    ),
}
"""By title: folders and files."""
TESTS = (
    *("tests/devicetree", "tests/instance/test_mk_ipi.py", "tests/instance/test_mk_channels.py"),
    *("tests/instance/test_mk_message.py", "tests/instance/test_mk_requests.py"),
    *("tests/instance/test_shared_links.py", "tests/instance/test_mk_refusals.py"),
    *("tests/simulation/test_cpu_requests.py", "tests/simulation/test_errands.py"),
    *(f"tests/interconnect/test_{name}.py" for name in ("lifecycle_verbs", "cpu_pool", "image")),
    *("tests/interconnect/test_cpu_hotplug.py", "tests/instance/test_cpu_slots.py"),
    *("tests/interconnect/test_start_up.py", "tests/interconnect/test_kernfs.py"),
    *("tests/test_lifecycle.py", "tests/host/test_kept.py", "tests/host/test_orders.py"),
    *("tests/interconnect/test_lifecycle_races.py", "tests/host/test_busy_instances.py"),
)
LEFT_OUT = (
    "not fuzz and not arbitrary and not what_is_written and not goes_through and not two_processes"
)
"""Tests that draw by chance, or start processes."""
FINDERS = {"error", "warning", "_fail"}
"""Calls that are findings of the validator."""
TEXT = 76

HEAD = """# Refusals

Every errno of the framework and of the lifecycle, and every error and warning of the device tree
reader, with one of the tests that raise it. `python tests/document_refusals.py` writes the page by
running those tests and watching which lines they reach.

"""


@dataclass(frozen=True, slots=True)
class Site:
    """A place that refuses: lines of a file, in which function, and what stands there."""

    file: str
    first: int
    last: int
    function: str
    text: str


class Watch:
    """A pytest plugin: which tests reach which lines of some files."""

    def __init__(self, files: set[str]) -> None:
        self.files = files
        self.reached: dict[tuple[str, int], set[str]] = {}
        self._test = ""

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Any:
        where = item.nodeid.partition("[")[0]
        self._test = where
        before = sys.gettrace()
        sys.settrace(self._call)
        try:
            return (yield)
        finally:
            sys.settrace(before)

    def _call(self, frame: FrameType, _event: str, _argument: Any) -> Any:
        return self._line if frame.f_code.co_filename in self.files else None

    def _line(self, frame: FrameType, event: str, _argument: Any) -> Any:
        if event == "line":
            key = (frame.f_code.co_filename, frame.f_lineno)
            self.reached.setdefault(key, set()).add(self._test)
        return self._line


def sites() -> list[Site]:
    """All of them, in the order of rooms and files."""
    return [site for room in ROOMS for site in _sites_of(room)]


def _sites_of(room: str) -> list[Site]:
    found = []
    for place in (ROOT / each for each in ROOMS[room]):
        for path in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            found += list(_sites_in(path))
    return found


def _sites_in(path: Path) -> Iterator[Site]:
    file = str(path.relative_to(ROOT))
    module = ast.parse(path.read_text())
    for function in ast.walk(module):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if function.name in FINDERS:
            continue
        for node in ast.walk(function):
            text = _refusal(node)
            if text:
                yield Site(file, node.lineno, node.end_lineno or 0, function.name, text)


def _refusal(node: ast.AST) -> str:
    """What a node refuses with; empty if it is none."""
    if isinstance(node, ast.Return | ast.Assign) and node.value is not None:
        values = node.value.elts if isinstance(node.value, ast.Tuple) else [node.value]
        for value in values:
            if (
                isinstance(value, ast.UnaryOp)
                and isinstance(value.op, ast.USub)
                and isinstance(value.operand, ast.Name)
                and value.operand.id.startswith("E")
            ):
                return f"-{value.operand.id}"
    if isinstance(node, ast.Call) and not ast.unparse(node.func).startswith("_log."):
        name = getattr(node.func, "id", getattr(node.func, "attr", ""))
        if name in FINDERS or (name.endswith("Error") and name != "DeviceTreeError"):
            return ast.unparse(node).replace("self.", "")
    return ""


@contextmanager
def silence() -> Iterator[None]:
    """What pytest prints goes to standard error."""
    before, sys.stdout = sys.stdout, sys.stderr
    try:
        yield
    finally:
        sys.stdout = before


def page(watch: Watch) -> str:
    """The page, from what was reached."""
    lines = [HEAD.rstrip("\n"), ""]
    for room in ROOMS:
        lines += [f"## {room}", "", "| file | function | what | test |", "|---|---|---|---|"]
        for site in _sites_of(room):
            tests: set[str] = set()
            for number in range(site.first, site.last + 1):
                tests |= watch.reached.get((str(ROOT / site.file), number), set())
            file = site.file.removeprefix(f"{room}/")
            text = site.text if len(site.text) <= TEXT else site.text[: TEXT - 3] + "..."
            text = text.replace("|", "\\|").replace("`", "'")
            shown = min(tests).split("::")[-1] if tests else "none"
            where = min(tests).partition("::")[0] if tests else ""
            link = f"[{shown}](../{where})" if tests else shown
            lines.append(f"| {file} | {site.function} | `{text}` | {link} |")
        lines.append("")
    return "\n".join(lines).rstrip("\n") + "\n"


def main() -> int:
    """Write the page to the file named on the command line, docs/refusals.md by default."""
    output = Path(sys.argv[1]) if len(sys.argv) > 1 else PAGE
    watch = Watch({str(ROOT / site.file) for site in sites()})
    options = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-k", LEFT_OUT]
    with silence():
        tests = [str(ROOT / test) for test in TESTS if (ROOT / test).exists()]
        code = pytest.main([*options, f"--rootdir={ROOT}", *tests], plugins=[watch])
    if code:
        return int(code)
    written = page(watch)
    output.write_text(written)
    return 1 if "| none |" in written else 0


if __name__ == "__main__":
    sys.exit(main())
