"""The pages say what is so: their programs run, their links lead somewhere, their numbers hold."""

import ast
import importlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from mkrpc.cluster import remove
from mkrpc.instance import instructions
from mkrpc.instance.config import KernelConfig
from mkrpc.state_dir import cluster_names
from mkrpc.topology import Topology
from mkrpc.x86.apic_policy import ApicPolicy

ROOT = Path(__file__).parent.parent
PROGRAMS = ROOT / "docs" / "programs.md"
MESSAGES = ROOT / "docs" / "messages.md"
RULES = ROOT / "docs" / "rules.md"
DESIGN = ROOT / "docs" / "design.md"
FAITHFULNESS = ROOT / "docs" / "faithfulness.md"
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))

BLOCK_TIMEOUT_S = 60
LIMIT_NAME = re.compile(r"_?MAX_\w+|\w+_(WINDOW|LIMIT|MAX)|\w+_LIMIT_\w+")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
MAX_LINE = 100


def blocks(page: Path, language: str) -> list[tuple[int, str]]:
    """Fenced blocks of a language: the number of the first line, and the text."""
    text = page.read_text()
    found = re.finditer(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [(text.count("\n", 0, match.start()) + 2, match[1]) for match in found]


def rows(page: Path) -> Iterator[list[str]]:
    """The cells of every row of every table."""
    for line in page.read_text().splitlines():
        if line.startswith("| "):
            yield [cell.strip() for cell in line.strip("|").split(" | ")]


def value_of(cell: str) -> int | float:
    return float(cell) if "." in cell else int(cell, 0)


EXAMPLES = [
    pytest.param(code, id=f"{page.name}:{line}")
    for page in (ROOT / "README.md", PROGRAMS, MESSAGES)
    for line, code in blocks(page, "python")
]


@pytest.fixture
def state_dir(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A short path of its own: that of a Unix socket has 107 bytes."""
    directory = tempfile.mkdtemp(prefix="mk", dir="/tmp")
    monkeypatch.setenv("MKRPC_STATE_DIR", directory)
    yield
    for name in cluster_names():
        remove(name)  # left behind by an example that was cut short
    shutil.rmtree(directory)


def test_these_pages_have_examples():
    pages = {example.id.partition(":")[0] for example in EXAMPLES}
    assert pages == {"README.md", "programs.md", "messages.md"}


@pytest.mark.e2e
@pytest.mark.parametrize("code", EXAMPLES)
@pytest.mark.usefixtures("state_dir")
def test_an_example_runs_as_it_is_printed(code: str, tmp_path: Path):
    script = tmp_path / "test_example.py"
    script.write_text(code)
    command = [sys.executable, "-W", "error", str(script)]
    if re.search(r"^def test_", code, re.MULTILINE):
        shutil.copy(ROOT / "pyproject.toml", tmp_path)
        command[1:] = ["-m", "pytest", "-q", "-p", "no:cacheprovider", str(script)]
    environment = {name: value for name, value in os.environ.items() if "PYTEST" not in name}
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=BLOCK_TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert max(len(line) for line in code.splitlines()) <= MAX_LINE


@pytest.mark.parametrize(("line", "text"), blocks(PROGRAMS, "toml"))
def test_a_printed_topology_is_valid(line: int, text: str):
    assert Topology.from_dict(tomllib.loads(text)).instances, line


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_relative_link_leads_to_a_file(page: Path):
    links = [link for link in LINK.findall(page.read_text()) if "://" not in link]
    missing = [link for link in links if not (page.parent / link.partition("#")[0]).exists()]
    assert missing == []


def test_the_layers_of_the_design_are_those_of_the_contract():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    (layers,) = (each["layers"] for each in contracts["contracts"] if each["type"] == "layers")
    (printed,) = (text for _, text in blocks(DESIGN, "") if text.startswith("__main__"))
    assert [re.split(r"  +", line)[0] for line in printed.splitlines()] == layers


def test_every_rule_has_one_row():
    named = [cells[0] for cells in rows(RULES) if re.fullmatch(r"R\d+", cells[0])]
    assert named == [f"R{number}" for number in range(1, 63)]


def test_every_file_that_a_page_names_exists():
    """Files without a folder are those of mkrpc/x86 in the rules."""
    missing = []
    for page, homes in ((RULES, ("mkrpc/x86", "mkrpc")), (FAITHFULNESS, ("mkrpc", "."))):
        for name in re.findall(r"`([\w/]+\.py)`", page.read_text()):
            if not any((ROOT / home / name).is_file() for home in homes):
                missing.append((page.name, name))
    assert missing == []


def test_every_instruction_has_a_row():
    named = {cells[0].strip("`").partition("(")[0] for cells in rows(PROGRAMS) if "(" in cells[0]}
    assert set(instructions.__all__) - {"Instruction"} <= named


def limits_in_the_code() -> set[str]:
    found = set()
    for path in (ROOT / "mkrpc").rglob("*.py"):
        module = ".".join(path.relative_to(ROOT / "mkrpc").with_suffix("").parts)
        for node in ast.parse(path.read_text()).body:
            target: Any = getattr(node, "targets", [getattr(node, "target", None)])[0]
            name = getattr(target, "id", "")
            if LIMIT_NAME.fullmatch(name) and name.isupper():
                found.add(f"{module}.{name}")
    return found


def test_the_table_of_limits_is_the_code_s():
    printed = {
        cells[0].strip("`"): value_of(cells[1])
        for cells in rows(FAITHFULNESS)
        if re.fullmatch(r"`[\w.]+\.[A-Z0-9_]+`", cells[0])
    }
    actual = {}
    for limit in printed.keys() | limits_in_the_code():
        module, _, name = limit.rpartition(".")
        actual[limit] = getattr(importlib.import_module(f"mkrpc.{module}"), name)
    assert printed == actual


def test_every_switch_is_explained_with_its_default():
    printed = {cells[0].strip("`"): cells[1].strip("`") for cells in rows(FAITHFULNESS)}
    for field in fields(ApicPolicy):
        assert printed[field.name] == str(field.default)
    kernel = {field.name: field.default for field in fields(KernelConfig)}
    for name in (
        "boundary",
        "xapic_ldr",
        "lvt_error",
        "entry",
        "multikernel",
        "apic_debug",
        "store_buffer",
        "foreign_stop",
    ):
        assert printed[name] == str(kernel[name])
    assert printed["mode"] == kernel["mode"].name.lower()
    assert int(printed["initial_tpr"], 0) == kernel["initial_tpr"]
