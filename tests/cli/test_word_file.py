"""``mkrpc ipi --from-file``: words of a file, all of it checked before any is sent."""

import json

import pytest

from mkrpc.cli import word_file
from mkrpc.cli.word_file import read_words
from mkrpc.errors import InvalidArgumentError
from mkrpc.outcome import Outcome
from mkrpc.v1 import control_pb2 as pb
from mkrpc.x86.icr import fixed

FILE = """
# to CPU 3, and to CPU 1
0x3000000ea
0x3000000ea 4   # five in a row in all
  4294967530

0X1000000EA 2
"""
RUNS = [(fixed(3, 0xEA), 5), (fixed(1, 0xEA), 3)]


def test_a_file_has_words_and_counts_in_order():
    assert read_words(FILE.splitlines(), "words.txt") == RUNS


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("ring", "'ring' is no ICR word"),
        ("0x", "'0x' is no ICR word"),
        ("1 2 3", "'1 2 3' is more than a word and a count"),
        ("0x10000000000000000", "does not fit 64 bits"),
        ("-1", "less than 0"),
        ("0x100000", "reserved bits 0x100000 are set"),
        ("0x400ea", "an external agent has no APIC"),
        ("0xc00ea", "an external agent has no APIC"),
        ("234 0", "count 0 is not between 1 and 100000000"),
        ("234 many", "'many' is no count"),
        ("234 100000001", "count 100000001 is not between"),
    ],
)
def test_a_line_that_cannot_be_is_named(line, says):
    with pytest.raises(InvalidArgumentError, match=f"words.txt, line 2: .*{says}"):
        read_words(["0xea", line], "words.txt")


def test_a_file_has_words_and_not_too_many(monkeypatch):
    with pytest.raises(InvalidArgumentError, match="has no words"):
        read_words(["# nothing", ""], "words.txt")
    monkeypatch.setattr(word_file, "MAX_WORDS", 10)
    assert read_words(["0xea 6", "0xea 4"], "words.txt") == [(0xEA, 10)]
    with pytest.raises(InvalidArgumentError, match="more than 10 words"):
        read_words(["0xea 6", "0xeb 5"], "words.txt")


def answering(peer, outcome):
    """An interconnect of one CPU, to which everything goes."""
    yield pb.InjectStreamResponse(window=16_384, requests=512)
    count = 0
    for request in peer.requests[-1]:
        peer.words.extend(request.words)
        count += len(request.words)
        answer = pb.InjectStreamResponse()
        last = request.first_seq + len(request.words) - 1
        answer.answered.add(first=request.first_seq, last=last)
        answer.legs.add(apic_id=3, instance_id=1, outcome=int(outcome), count=count)
        yield answer


@pytest.mark.parametrize(("outcome", "code"), [(Outcome.DELIVERED, 0), (Outcome(16), 1)])
def test_all_words_are_sent_in_order(run, peer, tmp_path, outcome, code):
    peer.words = []
    peer.will("InjectStream", answering(peer, outcome))
    (tmp_path / "words.txt").write_text(FILE + "0x3000000ea 200000\n")
    result = run("ipi", "--address", peer.address, "--from-file", tmp_path / "words.txt", "--json")
    assert result.exit_code == code
    assert (
        peer.words
        == [word for word, count in RUNS for _ in range(count)] + [fixed(3, 0xEA)] * 200_000
    )
    told = json.loads(result.stdout)
    assert told["written"] == 200_008
    assert [(leg["outcome"], leg["count"]) for leg in told["legs"]] == [(outcome.text, 200_008)]


@pytest.mark.parametrize(
    ("to", "word"),
    [("3", fixed(3, 0xEA)), ("web", fixed(2, 0xEA)), ("icr:0x400000031", 4 << 32 | 0x31)],
)
def test_a_count_beyond_one_call_goes_over_a_stream(run, peer, two_instances, to, word):
    peer.words = []
    peer.will("GetCluster", two_instances)
    peer.will("InjectStream", answering(peer, Outcome.DELIVERED))
    result = run("ipi", "--address", peer.address, "--to", to, "--count", "1000001", "--json")
    assert result.exit_code == 0
    assert len(peer.words) == 1_000_001
    assert set(peer.words) == {word}
    told = json.loads(result.stdout)
    assert (told["written"], told["all_arrived"]) == (1_000_001, True)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--to", "db"), "instance 2 (db) does not run: it is failed"),
        (("--to", "nowhere"), "no instance nowhere"),
        (("--to", "icr:0x1000ea0000"), "reserved bits"),
        (("--to", "others"), "no APIC of its own"),
        (("--to", "3", "--from", "2"), "more than the 1000000 writes"),
        (("--to", "3", "--vector", "7"), "vector 0x7 is not between"),
    ],
)
def test_a_count_beyond_one_call_that_cannot_be(run, peer, told, arguments, says):
    gone = pb.Instance(id=2, name="db", state=pb.INSTANCE_STATE_FAILED)
    peer.will("GetCluster", pb.GetClusterResponse(instances=[gone]))
    result = run("ipi", "--address", peer.address, *arguments, "--count", "2000000")
    assert result.exit_code == (3 if "instance" in says else 2)
    assert says in told(result)[0]
    assert all(type(request) is pb.GetClusterRequest for request in peer.requests)


def test_nothing_is_sent_of_a_file_with_a_mistake(run, peer, tmp_path, told):
    (tmp_path / "words.txt").write_text("0xea\nring\n")
    result = run("ipi", "--address", peer.address, "--from-file", tmp_path / "words.txt")
    assert result.exit_code == 2
    assert "line 2: 'ring' is no ICR word" in told(result)[0]
    assert peer.requests == []


@pytest.mark.parametrize(
    "arguments",
    [(), ("--to", "3", "--from-file", "-"), ("--from-file", "-", "--count", "3")],
)
def test_either_a_destination_or_a_file(run, arguments, told):
    result = run("ipi", *arguments)
    assert result.exit_code == 2
    assert "--from-file" in told(result)[0]


def test_a_file_that_is_not_there_is_a_usage_error(run, told):
    result = run("ipi", "--from-file", "nowhere.txt")
    assert result.exit_code == 2
    assert "nowhere.txt" in told(result)[0]


def test_who_interrupts_it_is_told_how_far_it_came(run, peer, tmp_path, monkeypatch):
    def interrupt(*_arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("mkrpc.client.bulk.BulkStream.flush", interrupt)
    (tmp_path / "words").write_text("0x1000000ea\n")
    peer.will("InjectStream", [])
    done = run("ipi", "--from-file", tmp_path / "words", "--address", peer.address)
    assert done.exit_code == 130
    what, advice = done.stderr.strip().splitlines()
    assert what == "mkrpc: interrupted: 0 words have outcomes"
    assert advice == "  → a few more may have been sent: mkrpc ledger"
