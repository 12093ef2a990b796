"""The printk ring and its two forms on paper."""

import gzip
import json
import re
from pathlib import Path

import pytest

from mkrpc.errors import InvalidArgumentError
from mkrpc.instance.printk import (
    LOG_LINE_MAX,
    LogRecord,
    Printk,
    Ratelimit,
    format_dmesg,
    format_record,
)
from mkrpc.x86.icr import fixed


@pytest.mark.parametrize(
    ("time_us", "raw"),
    [
        (1_374_792, "<6>[    1.374792] Multikernel interrupt"),
        (17_788_133, "<6>[   17.788133] Multikernel interrupt"),
        (0, "<6>[    0.000000] Multikernel interrupt"),
        (123_456_000_007, "<6>[123456.000007] Multikernel interrupt"),
    ],
)
def test_a_record_reads_as_in_the_recordings(time_us, raw):
    record = LogRecord(1, 6, time_us, 0, "Multikernel interrupt")
    assert format_record(record) == raw
    assert format_dmesg(record) == raw[3:]


GOLDEN = Path(__file__).parents[1] / "golden" / "linux"
LINE = re.compile(r"<6>\[ *(\d+)\.(\d{6})\](?:\[ *C(\d+)\])? Multikernel interrupt")


def unpacked(path):
    return gzip.decompress(path.read_bytes()).decode()


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("dmesg.*")), ids=lambda path: path.name)
def test_the_lines_of_the_patch_are_the_recorded_ones(make_kernel, clock, path):
    """Every multikernel interrupt is taken again at its time, on its CPU where the file names it;
    the whole file must return, with the PRINTK_CALLER column where that kernel had it."""
    text, caller = unpacked(path), "caller" in path.name
    kernel = make_kernel(8)
    for line in text.splitlines():
        seconds, microseconds, cpu = LINE.fullmatch(line).groups()
        assert (cpu is not None) is caller
        clock.now_us = int(seconds) * 1_000_000 + int(microseconds)
        number = int(cpu or 0)
        kernel.accept(number, fixed(number, 0xEA))
    printed = [format_record(record, caller=caller) + "\n" for record in kernel.log.since(1)]
    assert "".join(printed) == text
    plain = [format_dmesg(record, caller=caller) for record in kernel.log.since(1)]
    assert plain == [line[3:] for line in text.splitlines()]


UNHANDLED = [
    pytest.param(test, id=f"{path.name}:{test['name']}")
    for path in sorted(GOLDEN.glob("*.jsonl.gz"))
    for test in map(json.loads, unpacked(path).splitlines())
    if test["other_dmesg"]
]


@pytest.mark.parametrize("test", UNHANDLED)
def test_the_line_of_an_unhandled_vector_is_the_recorded_one(make_kernel, test):
    """The recorded 6.12.117 prints the text of 6.17 (``No irq handler for %d.%u``): the change
    went into the stable series too. 6.12 as released said ``call_irq_handler: 1.233 No irq handler
    for vector``, which is not printed here."""
    (script,) = test["script"]
    verb, cpu, vector = script.split()
    assert verb == "vec"
    kernel = make_kernel(len(test["cal"]))
    kernel.accept(int(cpu), fixed(int(cpu), int(vector, 16)))
    assert [record.text for record in kernel.log.since(1)] == test["other_dmesg"]
    assert [cpu.irq_stat.irq_call_count for cpu in kernel.cpus] == test["cal"]


def test_five_boots_recorded_an_unhandled_vector():
    assert len(UNHANDLED) == 5


@pytest.mark.parametrize(("cpu", "column"), [(0, "[    C0]"), (37, "[   C37]"), (511, "[  C511]")])
def test_the_caller_column_is_six_wide(cpu, column):
    assert (
        format_record(LogRecord(1, 0, 0, cpu, "x"), caller=True) == f"<0>[    0.000000]{column} x"
    )


def test_the_oldest_records_are_overwritten_and_counted(clock):
    log = Printk(records=3, now_us=clock)
    for number in range(1, 6):
        log.emit(6, f"line {number}", 0)
    assert (len(log), log.dropped, log.written) == (3, 2, 5)
    assert [record.number for record in log.since(1)] == [3, 4, 5]


@pytest.mark.parametrize(
    ("first", "numbers"),
    [
        (-1, [3, 4, 5]),
        (0, [3, 4, 5]),
        (3, [3, 4, 5]),
        (4, [4, 5]),
        (5, [5]),
        (6, []),
        (99, []),
        (2**64 - 1, []),
    ],
)
def test_since_gives_what_is_left_from_a_number_on(clock, first, numbers):
    log = Printk(records=3, now_us=clock)
    for number in range(1, 6):
        log.emit(6, f"line {number}", 0)
    assert [record.number for record in log.since(first)] == numbers


def test_one_record_a_line_cut_to_its_limit(clock):
    log = Printk(now_us=clock)
    log.emit(1, "first\n" + "x" * 2000, 3)
    assert log.since(1) == [
        LogRecord(1, 1, clock.now_us, 3, "first"),
        LogRecord(2, 1, clock.now_us, 3, "x" * LOG_LINE_MAX),
    ]


@pytest.mark.parametrize(
    ("text", "lines"),
    [("hello\n", ["hello"]), ("\n", [""]), ("a\n\n", ["a", ""]), ("a\nb\n", ["a", "b"])],
)
def test_the_newline_that_ends_a_text_is_no_line(clock, text, lines):
    log = Printk(now_us=clock)
    log.emit(6, text, 0)
    assert [record.text for record in log.since(1)] == lines


def test_a_ring_has_room_for_a_record(clock):
    with pytest.raises(InvalidArgumentError):
        Printk(records=0, now_us=clock)


@pytest.mark.parametrize(
    ("text", "kept"),
    [("Glocke é \U0001f514", "Glocke é \U0001f514"), ("half \udc80 a pair", r"half \udc80 a pair")],
)
def test_every_text_can_be_sent_whatever_a_handler_prints(clock, text, kept):
    log = Printk(now_us=clock)
    log.emit(6, text, 0)
    assert [record.text for record in log.since(1)] == [kept]
    kept.encode()


def test_a_level_out_of_range_is_refused(kernel):
    kernel.cpus[1].printk("hello", 3)
    with pytest.raises(InvalidArgumentError):
        kernel.cpus[1].printk("hello", 8)
    assert [(r.level, r.cpu, r.text) for r in kernel.log.since(1)] == [(3, 1, "hello")]


def test_ratelimit_counts_what_it_suppresses_and_says_so_once():
    limit = Ratelimit(interval_us=100, burst=2)
    times = (0, 1, 2, 99, 100, 101, 200)
    assert [limit.allows(now_us) for now_us in times] == [
        (True, 0),
        (True, 0),
        (False, 0),
        (False, 0),
        (True, 2),
        (True, 0),
        (True, 0),
    ]
