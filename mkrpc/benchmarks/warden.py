"""What a benchmark starts ends with it, however it ends: ``python -m mkrpc.benchmarks.warden``.

Its processes, and all that those start, carry its directory in their environment. The warden, a
process in a session of its own, waits for the end of a pipe that only the benchmark holds: then it
kills whoever is left and removes the directory. So it is with ``kill -9`` too.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mkrpc.errors import MkrpcError
from mkrpc.state_dir import end_all

__all__ = ["BENCH_VARIABLE", "guarded_directory", "main"]

BENCH_VARIABLE = "MKRPC_BENCH"
"""The environment variable that marks what a benchmark starts; its value is the directory."""


@contextmanager
def guarded_directory(prefix: str) -> Iterator[Path]:
    """A directory for what a benchmark starts, which is to end by the end of the block.

    What is left then, or when this process has gone, is killed, and the directory removed.
    """
    before = os.environ.get(BENCH_VARIABLE)
    with tempfile.TemporaryDirectory(prefix=prefix, dir="/tmp", ignore_cleanup_errors=True) as name:
        # Not marked itself, and out of reach of a Ctrl-C.
        warden = subprocess.Popen(
            [sys.executable, "-m", "mkrpc.benchmarks.warden", name],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            env={key: value for key, value in os.environ.items() if key != BENCH_VARIABLE},
            start_new_session=True,
        )
        assert warden.stdin is not None
        os.environ[BENCH_VARIABLE] = name
        try:
            yield Path(name)
        finally:
            if before is None:
                del os.environ[BENCH_VARIABLE]
            else:
                os.environ[BENCH_VARIABLE] = before
            warden.stdin.close()
            warden.wait()


def main() -> int:
    """Wait for the end of the benchmark, and end what it has left."""
    directory = Path(sys.argv[1])
    sys.stdin.buffer.read()
    try:
        end_all(directory, grace_s=0.0, variable=BENCH_VARIABLE)
    except MkrpcError as error:
        print(f"bench: {error}\n  → {error.advice}", file=sys.stderr)
        return 1
    shutil.rmtree(directory, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
