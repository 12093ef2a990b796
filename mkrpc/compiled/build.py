"""Compiles the hot rooms with mypyc, from the same sources that Python runs."""

import ast
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from mkrpc.compiled.artefacts import MANIFEST, PURE_VARIABLE, abi, hash_of, package_root
from mkrpc.errors import StartUpError

__all__ = ["MODULES", "SHARED", "build", "check_ours", "sources"]

MODULES = (
    "mkrpc.account_bytes",
    "mkrpc.dense_legs",
    "mkrpc.frame_codec",
    "mkrpc.frame_reader",
    "mkrpc.frame_writer",
    "mkrpc.instance.accounting",
    "mkrpc.instance.apic_access",
    "mkrpc.instance.arrivals",
    "mkrpc.instance.attachment",
    "mkrpc.instance.boot_clock",
    "mkrpc.instance.commands",
    "mkrpc.instance.cpu",
    "mkrpc.instance.execution",
    "mkrpc.instance.kernel",
    "mkrpc.instance.moves",
    "mkrpc.instance.printk",
    "mkrpc.instance.process",
    "mkrpc.instance.store_buffer",
    "mkrpc.instance.sysvec",
    "mkrpc.instance.uplink",
    "mkrpc.instance.vector_books",
    "mkrpc.interconnect.apic_bus",
    "mkrpc.interconnect.arbitration",
    "mkrpc.interconnect.asking",
    "mkrpc.interconnect.attachments",
    "mkrpc.interconnect.changes",
    "mkrpc.interconnect.clients",
    "mkrpc.interconnect.clock",
    "mkrpc.interconnect.cpu_owners",
    "mkrpc.interconnect.destination_outcomes",
    "mkrpc.interconnect.equal_legs",
    "mkrpc.interconnect.fan_legs",
    "mkrpc.interconnect.fault_injection",
    "mkrpc.interconnect.floors",
    "mkrpc.interconnect.gone_clients",
    "mkrpc.interconnect.handing_over",
    "mkrpc.interconnect.injected_words",
    "mkrpc.interconnect.injection",
    "mkrpc.interconnect.injection_stream",
    "mkrpc.interconnect.instalments",
    "mkrpc.interconnect.intake",
    "mkrpc.interconnect.known_clients",
    "mkrpc.interconnect.lease",
    "mkrpc.interconnect.ledger",
    "mkrpc.interconnect.leg_block",
    "mkrpc.interconnect.legs",
    "mkrpc.interconnect.link_faults",
    "mkrpc.interconnect.messages",
    "mkrpc.interconnect.mirror",
    "mkrpc.interconnect.overview",
    "mkrpc.interconnect.places",
    "mkrpc.interconnect.refusing",
    "mkrpc.interconnect.registry",
    "mkrpc.interconnect.roster",
    "mkrpc.interconnect.roster_count",
    "mkrpc.interconnect.rota",
    "mkrpc.interconnect.routing",
    "mkrpc.interconnect.session",
    "mkrpc.interconnect.settled_writes",
    "mkrpc.interconnect.sightings",
    "mkrpc.interconnect.single_calls",
    "mkrpc.interconnect.singles",
    "mkrpc.interconnect.source_side",
    "mkrpc.interconnect.stream_answers",
    "mkrpc.interconnect.stream_codec",
    "mkrpc.interconnect.succession",
    "mkrpc.interconnect.tally",
    "mkrpc.interconnect.targets",
    "mkrpc.interconnect.telling",
    "mkrpc.interconnect.timekeeping",
    "mkrpc.interconnect.turns",
    "mkrpc.interconnect.word_kinds",
    "mkrpc.interconnect.word_routing",
    "mkrpc.link.accounts",
    "mkrpc.link.endpoint",
    "mkrpc.link.frames",
    "mkrpc.link.greetings",
    "mkrpc.link.lease",
    "mkrpc.link.legs",
    "mkrpc.link.memory",
    "mkrpc.link.remembered",
    "mkrpc.link.runs",
    "mkrpc.link.source",
    "mkrpc.outcome",
    "mkrpc.transport.queue_calls",
    "mkrpc.transport.reactor_connection",
    "mkrpc.wire_fields",
    "mkrpc.x86.apic_base",
    "mkrpc.x86.apic_state",
    "mkrpc.x86.destination",
    "mkrpc.x86.fred",
    "mkrpc.x86.icr",
    "mkrpc.x86.idt",
    "mkrpc.x86.irq_stat",
    "mkrpc.x86.lapic",
)
"""What is compiled, as one group: what is on the way of every interrupt in an instance and at the
interconnect, its drivers, and what turns a frame into bytes and back at either end.

Not what a recorder puts methods of its own into (``OF_PARTS`` in recorded_inputs.py). A constant of
theirs is ``Final``, and written into whoever reads it; a limit that tests turn is not, but for
those of frames under way in link/endpoint.py."""

SHARED = "mkrpc_model__mypyc"
"""The extension module that the others share."""

_SETUP = """
import sys
from mypyc.build import mypycify
from setuptools import setup

extensions = mypycify(
    ["--config-file=", "--ignore-missing-imports", *sys.argv[1:]],
    opt_level="3", debug_level="0", group_name="mkrpc_model",
)
setup(name="mkrpc_model", packages=[], ext_modules=extensions,
      script_args=["-q", "build_ext", "--inplace"])
"""

_TIMEOUT_S = 1800
_LAST_LINES = 12


def build(folder: Path) -> None:
    """Compile into ``folder``, in place of what is there.

    :raises StartUpError: mypyc or a C compiler is missing, or what they say.
    """
    _check_tools()
    check_ours(folder)
    fresh = folder.with_name(f"{folder.name}.{os.getpid()}")
    try:
        fresh.mkdir(parents=True)  # before the minutes that it takes
    except OSError as error:
        raise StartUpError(
            f"no folder can be made at {fresh}: {error.strerror}", advice="name another one"
        ) from None
    try:
        with tempfile.TemporaryDirectory(prefix="mkrpc-compile-") as scratch:
            _compile(Path(scratch))
            _keep(Path(scratch), fresh, folder)
    except OSError as error:
        raise StartUpError(f"the build cannot be kept: {error}", advice="make room") from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _compile(work: Path) -> None:
    # Of a copy: the compiler leaves its files beside its input.
    shutil.copytree(
        package_root(),
        work / "mkrpc",
        ignore=shutil.ignore_patterns("_compiled", "__pycache__"),
    )
    (work / "setup.py").write_text(_SETUP)
    paths = [str(_path(module)) for module in MODULES]
    environment = {**os.environ, PURE_VARIABLE: "1", "PYTHONPATH": str(work)}
    try:
        done = subprocess.run(
            [sys.executable, "setup.py", *paths],
            cwd=work,
            env=environment,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise StartUpError(
            f"the compiler has not ended in {_TIMEOUT_S} s",
            advice="the model runs as Python all the same",
        ) from None
    if done.returncode:
        last = "\n".join((done.stdout + done.stderr).splitlines()[-_LAST_LINES:])
        raise StartUpError(
            f"the compiler gave up:\n{last}", advice="the model runs as Python all the same"
        )


def check_ours(folder: Path) -> None:
    """StartUpError if there is something else than a build in it, which goes when another comes."""
    if folder.is_dir() and any(folder.iterdir()) and not (folder / MANIFEST).is_file():
        raise StartUpError(
            f"{folder} holds something else than a build, and stays as it is",
            advice="name an empty folder, or one that does not exist",
        )


def _check_tools() -> None:
    import importlib.util
    import sysconfig

    for tool in ("mypyc", "setuptools"):
        if importlib.util.find_spec(tool) is None:
            raise StartUpError(
                f"{tool} is not installed", advice="pip install 'mkrpc[compiled]', or mypy"
            )
    compiler = (os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()[0]
    if shutil.which(compiler) is None:
        raise StartUpError(f"there is no C compiler {compiler}", advice="install gcc, or set CC")


def _keep(work: Path, fresh: Path, folder: Path) -> None:
    """Put what was built into ``fresh``, and that where it is looked for: all of it, or nothing."""
    root = package_root().parent
    suffix = f".{abi()}.so"
    modules = {module: module + suffix for module in MODULES}
    modules[SHARED] = SHARED + suffix
    for module, file in modules.items():
        inside = module.replace(".", "/") if module != SHARED else module
        shutil.copy(work / (inside + suffix), fresh / file)
    hashes = {str(path): hash_of(work / path) for path in sources(work)}
    for path, kept in hashes.items():
        if hash_of(root / path) != kept:
            raise StartUpError(f"{path} was changed meanwhile", advice="try again")
    manifest = {"abi": abi(), "modules": modules, "sources": hashes}
    (fresh / MANIFEST).write_text(json.dumps(manifest, indent=1))
    shutil.rmtree(folder, ignore_errors=True)
    fresh.rename(folder)


def sources(root: Path) -> list[Path]:
    """The files that a build depends on, relative to ``root``: those of :data:`MODULES`, and of all
    that they import, directly or not, within the package; and this one, which has the list."""
    found = {_path(__name__)}
    waiting = [_path(module) for module in MODULES]
    while waiting:
        path = waiting.pop()
        if path in found or not (root / path).is_file():
            continue
        found.add(path)
        waiting.extend(_path(module) for module in _imports(root / path))
    return sorted(found)


def _imports(source: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("mkrpc"):
            yield node.module
            yield from (f"{node.module}.{name.name}" for name in node.names)
        elif isinstance(node, ast.Import):
            yield from (name.name for name in node.names if name.name.startswith("mkrpc"))


def _path(module: str) -> Path:
    return Path(*module.split(".")).with_suffix(".py")
