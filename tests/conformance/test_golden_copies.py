"""tests/golden holds the recordings, so that a clone is complete."""

import gzip
from pathlib import Path

import pytest

GOLDEN = Path(__file__).parents[1] / "golden"
SHARED = Path(__file__).parents[2].parent / "shared" / "golden"
MAX_TOTAL_BYTES = 1 << 20

RECORDINGS = sorted(path.relative_to(GOLDEN) for path in GOLDEN.rglob("*.jsonl.gz"))


def test_the_copies_are_all_there_and_small() -> None:
    names = {str(path) for path in RECORDINGS}
    groups = ("xapic", "xapic-8cpu", "x2apic", "x2apic-8cpu", "tcg10-x2apic-sparse")
    assert {f"apic/{group}.jsonl.gz" for group in groups} <= names
    assert "linux/smp4-plain.jsonl.gz" in names
    assert sum(path.stat().st_size for path in GOLDEN.rglob("*.gz")) < MAX_TOTAL_BYTES


@pytest.mark.parametrize("path", RECORDINGS, ids=str)
def test_a_copy_carries_no_time_and_no_name(path: Path) -> None:
    """RFC 1952: bytes 4 to 7 are the time, flag bit 3 says that a name follows."""
    header = (GOLDEN / path).read_bytes()[:10]
    assert header[4:8] == b"\0\0\0\0"
    assert not header[3] & 0x08


def test_the_copies_equal_the_originals() -> None:
    if not SHARED.is_dir():
        reason = f"{SHARED} does not exist here: nothing to compare the copies with"
        print(reason)
        pytest.skip(reason)
    originals = {
        path.relative_to(SHARED): path.read_bytes() for path in SHARED.rglob("*") if path.is_file()
    }
    copies = {
        path.relative_to(GOLDEN).with_name(path.name.removesuffix(".gz")): (
            gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        )
        for path in GOLDEN.rglob("*")
        if path.is_file()
    }
    assert sorted(copies) == sorted(originals)
    assert [path for path in originals if originals[path] != copies[path]] == []
