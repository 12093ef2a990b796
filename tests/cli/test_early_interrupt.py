"""Ctrl-C while a command is being imported: no traceback, and the exit code of later ones."""

import signal
import subprocess
import sys

import pytest

INTERRUPTED = """
import runpy, os, signal, sys

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Finder())
signal.signal(signal.SIGINT, signal.{before})
sys.argv[1:] = ["--help"]
runpy.run_module({entry!r}, run_name="__main__", alter_sys=True)
"""
"""An entry that is interrupted in the very moment in which it imports a module."""


def interrupted(entry: str, module: str, before: str) -> subprocess.CompletedProcess[str]:
    code = INTERRUPTED.format(entry=entry, module=module, before=before)
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize(
    ("entry", "module"),
    [
        ("mkrpc", "mkrpc.cli.bench"),
        ("mkrpc.interconnect", "mkrpc.interconnect.server"),
        ("mkrpc.instance", "grpc"),
    ],
)
def test_an_interrupt_during_imports_ends_a_command_without_a_word(entry: str, module: str):
    done = interrupted(entry, module, "default_int_handler")
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_an_interrupt_that_is_switched_off_stays_so():
    done = interrupted("mkrpc", "mkrpc.cli.bench", "SIG_IGN")
    assert done.returncode == 0
    assert "Usage: mkrpc" in done.stdout


def test_after_the_imports_an_interrupt_is_an_exception_again():
    code = (
        "import signal\nfrom mkrpc.early_interrupt import quiet_imports\n"
        "with quiet_imports():\n    pass\nsignal.raise_signal(signal.SIGINT)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert "KeyboardInterrupt" in done.stderr
    assert done.returncode in (-signal.SIGINT, 130)
