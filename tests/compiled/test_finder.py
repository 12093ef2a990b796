"""A build is used only where it is of these very sources, and every process says which it is."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mkrpc.compiled.artefacts import FOLDER_VARIABLE, MANIFEST, PURE_VARIABLE, abi, hash_of
from mkrpc.compiled.build import MODULES, SHARED, sources

ROOT = Path(__file__).parent.parent.parent
SAY = "from mkrpc.compiled.finder import state; import json; print(json.dumps(vars(state())))"


def python(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {k: v for k, v in os.environ.items() if k not in (PURE_VARIABLE, FOLDER_VARIABLE)}
    return subprocess.run(
        [sys.executable, *arguments],
        env={**inherited, **environment},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


def state_with(folder: Path, **environment: str) -> dict:
    done = python("-c", SAY, **{FOLDER_VARIABLE: str(folder)}, **environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def build(tmp_path: Path) -> Path:
    """A folder that looks like a build of these sources; its modules are never imported."""
    files = {module: f"{module}.so" for module in (*MODULES, SHARED)}
    for file in files.values():
        (tmp_path / file).touch()
    hashes = {str(path): hash_of(ROOT / path) for path in sources(ROOT)}
    write(tmp_path, {"abi": abi(), "modules": files, "sources": hashes})
    return tmp_path


def write(folder: Path, manifest: dict) -> None:
    (folder / MANIFEST).write_text(json.dumps(manifest))


def test_without_a_build_the_model_is_python(tmp_path):
    found = state_with(tmp_path)
    assert (found["compiled"], found["stale"]) == (False, False)


def test_a_build_of_these_sources_is_used(build):
    found = state_with(build)
    assert (found["compiled"], found["stale"]) == (True, False)
    assert f"{len(MODULES)} modules" in found["reason"]


def test_a_variable_leaves_it_out(build):
    found = state_with(build, MKRPC_PURE="1")
    assert (found["compiled"], found["reason"]) == (False, "MKRPC_PURE is set")


@pytest.mark.parametrize("source", ["mkrpc/x86/lapic.py", "mkrpc/limits.py"])
def test_a_build_of_another_source_is_stale_and_not_used(build, source):
    """One that is compiled, or that a compiled one has constants of."""
    manifest = json.loads((build / MANIFEST).read_text())
    assert source in manifest["sources"]
    manifest["sources"][source] = "0" * 64
    write(build, manifest)
    found = state_with(build)
    assert (found["compiled"], found["stale"]) == (False, True)
    assert f"{source} has changed since" in found["reason"]


def test_nor_is_one_for_another_python_or_without_a_file(build):
    manifest = json.loads((build / MANIFEST).read_text())
    write(build, manifest | {"abi": "cpython-1-none"})
    assert "it is for cpython-1-none" in state_with(build)["reason"]
    write(build, manifest)
    (build / manifest["modules"][SHARED]).unlink()
    assert "is missing" in state_with(build)["reason"]


def test_a_manifest_that_cannot_be_read_is_no_build(build):
    (build / MANIFEST).write_text("{")
    assert not state_with(build)["compiled"]


def test_status_says_so_and_exits_with_1_for_a_stale_one(build):
    status = ("-m", "mkrpc.compiled", "status", "--json")
    done = python(*status, MKRPC_COMPILED=str(build), MKRPC_PURE="1")
    found = json.loads(done.stdout)
    assert (done.returncode, found["built"], found["stale"]) == (0, True, "")
    assert found["modules"] == sorted((*MODULES, SHARED))
    write(build, json.loads((build / MANIFEST).read_text()) | {"abi": "other"})
    done = python("-m", "mkrpc.compiled", "status", MKRPC_COMPILED=str(build), MKRPC_PURE="1")
    assert done.returncode == 1
    assert done.stdout.startswith("stale, and not used: ")


def test_without_a_compiler_there_is_one_line_and_advice(tmp_path):
    done = python(
        *("-m", "mkrpc.compiled", "build"), MKRPC_COMPILED=str(tmp_path / "b"), CC="no-such-cc"
    )
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "error: there is no C compiler no-such-cc",
        "advice: install gcc, or set CC",
    ]


def test_a_place_where_nothing_can_be_written_is_found_out_before_the_compiler_runs():
    done = python("-m", "mkrpc.compiled", "build", MKRPC_COMPILED="/proc/self/build", CC="false")
    assert done.returncode == 1
    what, advice = done.stderr.splitlines()
    assert what.startswith("error: no folder can be made at /proc/self/build.")
    assert advice == "advice: name another one"


def test_a_build_depends_on_what_its_modules_import():
    found = {str(path) for path in sources(ROOT)}
    assert {f"{module.replace('.', '/')}.py" for module in MODULES} <= found
    assert {"mkrpc/limits.py", "mkrpc/link/frames.py", "mkrpc/x86/apic_policy.py"} <= found
    assert not [path for path in found if path.startswith(("mkrpc/cli", "mkrpc/simulation"))]


needs_a_compiler = pytest.mark.skipif(
    shutil.which("cc") is None and shutil.which("gcc") is None, reason="there is no C compiler"
)


@needs_a_compiler
@pytest.mark.full
@pytest.mark.timeout(900)
def test_the_same_tests_pass_on_a_build(tmp_path):
    """The whole of it is ``tests/run.sh --compiled``."""
    here = {FOLDER_VARIABLE: str(tmp_path / "build")}
    done = python("-m", "mkrpc.compiled", "build", **here)
    assert done.returncode == 0, done.stderr
    assert state_with(tmp_path / "build")["compiled"]
    done = python(
        *("-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/x86/test_lapic.py"),
        *("tests/instance/test_interrupt_laws.py", "tests/instance/test_arrivals.py"),
        *("tests/link/test_memory.py", "tests/link/test_memory_rows.py"),
        **here,
    )
    assert done.returncode == 0, done.stdout[-2000:]
    sim = ("-m", "mkrpc", "sim", "--seeds", "5", "--json")
    compiled, pure = python(*sim, **here), python(*sim, **{PURE_VARIABLE: "1"})
    told = [json.loads(each.stdout) for each in (compiled, pure)]
    for same in ("events", "frames", "faults", "outcomes"):
        assert told[0][same] == told[1][same]
    assert told[0]["violations"] == told[1]["violations"] == []


@pytest.mark.parametrize("command", [["clean"], ["build"]])
def test_what_is_no_build_is_never_removed(tmp_path: Path, command: list[str]):
    (tmp_path / "thesis.tex").touch()
    done = python("-m", "mkrpc.compiled", *command, **{FOLDER_VARIABLE: str(tmp_path)})
    assert done.returncode == 1
    assert "holds something else than a build" in done.stderr
    assert (tmp_path / "thesis.tex").exists()
