"""Destination matching (SDM vol. 3, 10.6.2, 10.12.9, 10.12.10; rules R22 to R30, R41)."""

from collections.abc import Iterator
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mkrpc.x86 import destination as destination_module
from mkrpc.x86.apic_base import ApicMode
from mkrpc.x86.destination import ApicAddress, DestinationMap, matches, x2apic_ldr
from mkrpc.x86.icr import Shorthand, decode, fixed, shorthand_word

FLAT = 0xFFFFFFFF
CLUSTER = 0x0FFFFFFF


def xapic(initial_id: int, *, ldr: int = 0, dfr: int = FLAT, xid: int | None = None) -> ApicAddress:
    return ApicAddress(
        initial_id=initial_id,
        mode=ApicMode.XAPIC,
        xapic_id=initial_id & 0xFF if xid is None else xid,
        ldr=ldr << 24,
        dfr=dfr,
        software_enabled=True,
    )


def x2apic(initial_id: int) -> ApicAddress:
    return ApicAddress(
        initial_id=initial_id,
        mode=ApicMode.X2APIC,
        xapic_id=initial_id & 0xFF,
        ldr=x2apic_ldr(initial_id),
        dfr=FLAT,
        software_enabled=True,
    )


def disabled(initial_id: int) -> ApicAddress:
    return ApicAddress(
        initial_id=initial_id,
        mode=ApicMode.DISABLED,
        xapic_id=initial_id & 0xFF,
        ldr=0,
        dfr=FLAT,
        software_enabled=False,
    )


def reached(targets: list[ApicAddress], word: int, source: int | None = None) -> list[int]:
    """By the predicate; the map is held equal to it here and below."""
    icr = decode(word)
    by_predicate = [t.initial_id for t in targets if matches(icr, source=source, target=t)]
    assert list(DestinationMap(targets).resolve(word, source)) == sorted(by_predicate)
    return by_predicate


@pytest.mark.rule("R24")
@pytest.mark.parametrize(
    ("initial_id", "ldr"),
    [
        (0x0, 0x1),
        (0xF, 0x8000),
        (0x10, 0x10001),
        (0x1F, 0x18000),
        (0xFF, 0xF8000),
        (0x100, 0x100001),
        (0xFFFFF, 0xFFFF8000),
    ],
)
def test_x2apic_logical_id_is_derived_from_the_initial_id(initial_id: int, ldr: int) -> None:
    assert x2apic_ldr(initial_id) == ldr


@pytest.mark.rule("R25", "R26", "R29", "R30")
@pytest.mark.parametrize(
    ("why", "targets", "destination", "expected"),
    [
        ("own id", [xapic(1), xapic(2)], 2, [2]),
        ("8-bit broadcast", [xapic(1), xapic(2)], 0xFF, [1, 2]),
        ("32-bit broadcast", [x2apic(1), x2apic(2)], 0xFFFFFFFF, [1, 2]),
        ("0xFF is an ordinary x2APIC id", [x2apic(1), x2apic(0xFF)], 0xFF, [0xFF]),
        ("aliased ids all accept", [xapic(1, xid=0), xapic(2, xid=0)], 0, [1, 2]),
        ("a rewritten id counts, not the initial one", [xapic(1, xid=9)], 1, []),
        ("an xAPIC sees the low byte", [xapic(1), x2apic(0x101)], 0x101, [1, 0x101]),
        ("32-bit broadcast reaches both kinds", [xapic(1), x2apic(2)], 0xFFFFFFFF, [1, 2]),
        ("0xFF reaches xAPICs only", [xapic(1), x2apic(2)], 0xFF, [1]),
        ("0x1FF is a broadcast to xAPICs", [xapic(1), x2apic(2), x2apic(0x1FF)], 0x1FF, [1, 0x1FF]),
        ("globally disabled", [disabled(1)], 1, []),
        ("disabled, broadcast", [disabled(1), x2apic(2)], 0xFFFFFFFF, [2]),
        ("nobody", [x2apic(1)], 5, []),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_physical_destinations(
    why: str, targets: list[ApicAddress], destination: int, expected: list[int]
) -> None:
    assert reached(targets, fixed(destination, 0xEA)) == expected, why


@pytest.mark.rule("R27", "R28", "R29")
@pytest.mark.parametrize(
    ("why", "targets", "destination", "expected"),
    [
        ("flat: any common bit", [xapic(0, ldr=1), xapic(1, ldr=2), xapic(2, ldr=4)], 0x6, [1, 2]),
        ("flat: several bits in LDR", [xapic(0, ldr=6)], 0x2, [0]),
        ("flat: destination 0", [xapic(0, ldr=1)], 0, []),
        ("flat: LDR 0 is not reached", [xapic(0)], 0x0F, []),
        ("all ones reaches LDR 0 too", [xapic(0), xapic(1, ldr=2)], 0xFF, [0, 1]),
        ("cluster: same cluster, common bit", [xapic(0, ldr=0x11, dfr=CLUSTER)], 0x13, [0]),
        ("cluster: other cluster", [xapic(0, ldr=0x21, dfr=CLUSTER)], 0x11, []),
        ("cluster: no common bit", [xapic(0, ldr=0x12, dfr=CLUSTER)], 0x11, []),
        ("cluster: all ones", [xapic(0, ldr=0x12, dfr=CLUSTER)], 0xFF, [0]),
        ("models are per APIC", [xapic(0, ldr=2), xapic(1, ldr=0x12, dfr=CLUSTER)], 0x12, [0, 1]),
        ("an undefined model matches nothing", [xapic(0, ldr=1, dfr=0x5FFFFFFF)], 1, []),
        ("x2APIC: same cluster", [x2apic(0), x2apic(1), x2apic(16)], 0x00000003, [0, 1]),
        ("x2APIC: cluster 1", [x2apic(0), x2apic(16), x2apic(17)], 0x00010003, [16, 17]),
        ("x2APIC: all ones", [x2apic(0), x2apic(0x123)], 0xFFFFFFFF, [0, 0x123]),
        ("x2APIC: 0xFFFF0001 is no broadcast", [x2apic(0)], 0xFFFF0001, []),
        ("x2APIC: 0xFF is cluster 0", [x2apic(1), x2apic(8)], 0xFF, [1]),
        ("mixed: the xAPIC sees the low byte", [xapic(0, ldr=1), x2apic(16)], 0x10001, [0, 16]),
        ("disabled", [disabled(0)], 0xFFFFFFFF, []),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_logical_destinations(
    why: str, targets: list[ApicAddress], destination: int, expected: list[int]
) -> None:
    assert reached(targets, fixed(destination, 0xEA, logical=True)) == expected, why


@pytest.mark.rule("R22", "R23")
@pytest.mark.parametrize(
    ("shorthand", "source", "expected"),
    [
        (Shorthand.SELF, 1, [1]),
        (Shorthand.ALL_INCLUDING_SELF, 1, [0, 1, 2]),
        (Shorthand.ALL_EXCLUDING_SELF, 1, [0, 2]),
        (Shorthand.SELF, None, []),
        (Shorthand.ALL_INCLUDING_SELF, None, [0, 1, 2]),
        (Shorthand.ALL_EXCLUDING_SELF, None, []),
        (Shorthand.SELF, 3, []),  # its own APIC is globally disabled
    ],
)
@pytest.mark.parametrize("destination", [0, 2, 0xFF, 0xFFFFFFFF])
def test_shorthands_ignore_destination_and_go_by_identity(
    shorthand: Shorthand, source: int | None, expected: list[int], destination: int
) -> None:
    # CPU 2 has taken the id of CPU 1: identity is the initial id all the same.
    targets = [x2apic(0), xapic(1), xapic(2, xid=1), disabled(3)]
    word = shorthand_word(shorthand, 0xEA) | destination << 32
    assert reached(targets, word, source) == expected


def _single_rows() -> Iterator[tuple[int, int, int]]:
    """kvm-unit-tests test_logical_ipi_xapic, flat single: 1016 rows; cluster single: 480."""
    for i, k in product(range(8), range(256)):
        destination = 1 << i | k
        if not k & 1 << i and destination != 0xFF:
            yield FLAT, 1 << i, destination
    for c, i, k in product(range(15), range(4), range(16)):
        if not k & 1 << i:
            yield CLUSTER, c << 4 | 1 << i, c << 4 | 1 << i | k


@pytest.mark.rule("R27")
def test_logical_ipi_xapic_single() -> None:
    """Reference 2.1, rows 6 and 7: non-existent bits are ignored, one CPU is reached."""
    rows = list(_single_rows())
    assert len(rows) == 1016 + 480
    for dfr, ldr, destination in rows:
        targets = [xapic(0), xapic(1, ldr=ldr, dfr=dfr)]
        assert reached(targets, fixed(destination, 0xEA, logical=True)) == [1], (ldr, destination)


def _multi_rows(bits: int, clusters: range, dfr: int) -> Iterator[tuple[int, int, int, int]]:
    for c, i, j, k in product(clusters, range(bits), range(bits), range(1 << bits)):
        pair = 1 << i | 1 << j
        if i == j or k & pair:
            continue
        base = c << 4
        yield dfr, base | 1 << i, base | 1 << j, base | pair | k
        yield dfr, base | pair, base | pair, base | pair | k


@pytest.mark.rule("R27")
@pytest.mark.parametrize(
    ("bits", "clusters", "dfr"), [(8, range(1), FLAT), (4, range(15), CLUSTER)]
)
def test_logical_ipi_xapic_multi(bits: int, clusters: range, dfr: int) -> None:
    """Reference 2.1, rows 8 and 9: both CPUs are reached, by their own bits or by shared ones."""
    rows = list(_multi_rows(bits, clusters, dfr))
    assert len(rows) == {8: 7168, 4: 2 * 720}[bits]
    for row_dfr, ldr0, ldr1, destination in rows:
        icr = decode(fixed(destination, 0xEA, logical=True))
        for target in (xapic(0, ldr=ldr0, dfr=row_dfr), xapic(1, ldr=ldr1, dfr=row_dfr)):
            assert matches(icr, source=None, target=target), (ldr0, ldr1, destination)


@pytest.mark.rule("R25", "R26")
def test_aliased_xapic_physical_ipi() -> None:
    """Reference 2.1, row 15: two CPUs of one id, both reached at each of the 256 ids."""
    for xid in range(256):
        targets = [xapic(0, xid=xid), xapic(1, xid=xid)]
        assert reached(targets, fixed(xid, 0xEA)) == [0, 1]


# Small universes, so that destinations hit often.
_ids = st.sampled_from([0, 1, 2, 3, 15, 16, 17, 0xFE, 0xFF, 0x100, 0x101, 0x110, 0x1FF, 0x100000])
_ldrs = st.sampled_from([0, 1, 2, 3, 0x10, 0x11, 0x12, 0x13, 0x80, 0xF1, 0xFF])
_destinations = st.one_of(
    _ids,
    _ldrs,
    st.sampled_from([0xFFFFFFFF, 0xFFFFFF, 0x10001, 0x10003, 0xFFFF0001, 0xFFFF]),
    st.integers(0, 0xFFFFFFFF),
)


@st.composite
def _addresses(draw: st.DrawFn) -> ApicAddress:
    initial_id = draw(_ids)
    mode = draw(st.sampled_from(ApicMode))
    if mode is ApicMode.DISABLED:
        return disabled(initial_id)
    if mode is ApicMode.X2APIC:
        return x2apic(initial_id)
    return xapic(
        initial_id,
        ldr=draw(_ldrs),
        dfr=draw(st.sampled_from([FLAT, CLUSTER, 0x7FFFFFFF])),
        xid=draw(st.sampled_from([initial_id & 0xFF, 0, 1, 0xFF])),
    )


@pytest.mark.rule("R23", "R25", "R26", "R27", "R28", "R29")
@settings(max_examples=4 * settings().max_examples)
@given(
    targets=st.lists(_addresses(), max_size=8, unique_by=lambda address: address.initial_id),
    sends=st.lists(
        st.tuples(_destinations, st.integers(0, 0xFFFFF), st.one_of(st.none(), _ids)),
        min_size=1,
        max_size=12,
    ),
)
def test_the_map_equals_the_predicate(
    targets: list[ApicAddress], sends: list[tuple[int, int, int | None]]
) -> None:
    machine = DestinationMap(targets)
    for destination, low, source in [*sends, *sends]:  # the second time out of the memo
        word = destination << 32 | low
        icr = decode(word)
        expected = [t.initial_id for t in targets if matches(icr, source=source, target=t)]
        assert machine.resolve(word, source) == tuple(sorted(expected)), hex(word)


def test_the_memo_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(destination_module, "MEMO_LIMIT", 16)
    machine = DestinationMap([x2apic(i) for i in range(4)])
    for destination in range(100):
        expected = (destination,) if destination < 4 else ()
        assert machine.resolve(fixed(destination, 0xEA), 0) == expected
        assert len(machine._memo) <= 16


def test_two_apics_of_one_identity_are_a_bug() -> None:
    with pytest.raises(AssertionError):
        DestinationMap([x2apic(1), xapic(1)])


@pytest.mark.rule("R41")
def test_an_empty_machine_answers_nobody() -> None:
    assert DestinationMap([]).resolve(fixed(0xFFFFFFFF, 0xEA), None) == ()


@settings(max_examples=2 * settings().max_examples)
@given(
    changes=st.lists(st.one_of(_addresses(), _ids), min_size=1, max_size=12),
    sends=st.lists(st.tuples(_destinations, st.integers(0, 0xFFFFF)), min_size=1, max_size=4),
)
def test_a_map_that_was_changed_equals_one_made_anew(
    changes: list[ApicAddress | int], sends: list[tuple[int, int]]
) -> None:
    """A number takes the APIC of that initial id away. Look-ups in between fill the memo."""
    machine, known = DestinationMap(), dict[int, ApicAddress]()
    for change in changes:
        if isinstance(change, int):
            machine.discard(change)
            known.pop(change, None)
        else:
            machine.put(change)
            known[change.initial_id] = change
        for destination, low in sends:
            word = destination << 32 | low
            assert machine.resolve(word, 0) == DestinationMap(known.values()).resolve(word, 0)
    for initial_id in list(known):
        machine.discard(initial_id)
    assert not machine._flat
    assert not machine._cluster
    assert not machine._x2_cluster, "nothing is left of addresses that are gone"
