"""The house keeps its own rules: generated files are fresh, the core is pure, files stay small."""

import ast
import filecmp
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
OWN = sorted(
    path
    for folder in ("mkrpc", "tests", "deploy", "proto")
    for path in (ROOT / folder).rglob("*.py")
    if "v1" not in path.parts
)
MAX_FILE_LINES = 350
MAX_FUNCTION_LINES = 70


def run(*command: str, **options: object) -> str:
    done = subprocess.run(
        [str(word) for word in command],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        **options,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_generated_code_is_what_the_pinned_generator_writes(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHON", sys.executable)
    run("proto/generate.sh", "--check", tmp_path)
    fresh = sorted((tmp_path / "mkrpc" / "v1").iterdir())
    assert len(fresh) == 9
    for path in fresh:
        committed = ROOT / "mkrpc" / "v1" / path.name
        assert filecmp.cmp(path, committed, shallow=False), f"run proto/generate.sh: {path.name}"


def test_the_page_of_the_wire_is_what_the_proto_comments_say(tmp_path):
    run(sys.executable, "proto/document.py", tmp_path / "wire.md")
    fresh = (tmp_path / "wire.md").read_text()
    assert fresh == (ROOT / "docs" / "wire.md").read_text(), "run proto/document.py"


@pytest.mark.parametrize("package", ["mkrpc.simulation.machine", "mkrpc.conformance.runner"])
def test_the_machine_in_one_thread_loads_no_grpc(package):
    """Design, section 4. Contracts see imports; this sees what an import runs."""
    code = f"import sys, {package}; print(*sorted(sys.modules))"
    loaded = set(run(sys.executable, "-c", code).split())
    assert package in loaded
    assert not {m for m in loaded if m.split(".")[0] in {"grpc", "google", "asyncio", "socket"}}


def test_the_host_agent_starts_others_without_grpc():
    """No thread of gRPC is in the launcher while it starts processes."""
    code = "import sys, mkrpc.host.__main__; print(*sorted(sys.modules))"
    assert not {m for m in run(sys.executable, "-c", code).split() if m.split(".")[0] == "grpc"}


def test_the_fork_server_imports_all_that_its_children_need_and_starts_no_thread():
    """Forking a process that has used gRPC is unsafe: it would have threads and descriptors."""
    from mkrpc.host.agent import PRELOAD

    code = (
        "import gc, os, sys; before = set(os.listdir('/proc/self/fd'))\n"
        f"[__import__(name) for name in {PRELOAD}]\n"
        "assert len(os.listdir('/proc/self/task')) == 1\n"
        "assert set(os.listdir('/proc/self/fd')) == before\n"
        "assert gc.get_freeze_count() > 10_000\n"
        "print(*sorted(sys.modules))"
    )
    loaded = set(run(sys.executable, "-c", code).split())
    assert {"grpc", "mkrpc.instance.process", "mkrpc.transport.choice"} <= loaded
    assert "pydantic" not in loaded


@pytest.mark.parametrize("path", OWN, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_functions_stay_small_and_are_named_by_a_noun(path):
    text = path.read_text()
    assert text.count("\n") <= MAX_FILE_LINES
    assert not re.search(r"util|helper|common|misc|manager", path.stem)
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = node.end_lineno - node.lineno + 1
            assert lines <= MAX_FUNCTION_LINES, node.name


def test_every_outcome_and_command_has_the_same_number_on_the_wire():
    from mkrpc.link.frames import CommandKind
    from mkrpc.outcome import Outcome
    from mkrpc.v1 import types_pb2

    for members, enum, prefix in (
        (Outcome, types_pb2.Outcome, "OUTCOME_"),
        (CommandKind, types_pb2.CommandKind, "COMMAND_KIND_"),
    ):
        wire = dict(enum.items())
        assert wire.pop(f"{prefix}UNSPECIFIED") == 0
        assert {f"{prefix}{member.name}": int(member) for member in members} == wire
