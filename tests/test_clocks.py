"""The wall clock decides nothing: whoever sets it back or forth changes no lease and no window."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent / "mkrpc"
WALL_CLOCK = re.compile(r"\btime\.(time|time_ns|ctime|localtime|gmtime)\(|\bdatetime\.|utcnow\(")
MAY_LOOK = {
    # A number above all that an earlier interconnect can have reached whose books are lost.
    "interconnect/book_keeping.py": 1,
    # grpcio tells and takes deadlines of calls by it.
    "transport/completion_queue.py": 1,
}


def test_only_who_is_named_here_looks_at_the_wall_clock() -> None:
    found = {
        str(path.relative_to(ROOT)): len(WALL_CLOCK.findall(path.read_text()))
        for path in sorted(ROOT.rglob("*.py"))
        if "v1" not in path.parts
    }
    assert {name: count for name, count in found.items() if count} == MAY_LOOK
