"""``mkrpc bench`` runs, its books balance, and what it reports is what it says."""

import json
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from mkrpc.benchmarks import path
from mkrpc.benchmarks.compare import compare, sources_of
from mkrpc.benchmarks.figures import RATIOS, Figures, percentile, ratios_of
from mkrpc.benchmarks.model import Model, model_words
from mkrpc.benchmarks.placement import kept_awake, parse_pin
from mkrpc.benchmarks.plan import PEERS, Plan, of_baselines, of_mkrpc, of_model
from mkrpc.benchmarks.serving import ACKNOWLEDGEMENT, words_of
from mkrpc.benchmarks.subject import OrderFailedError, Subject
from mkrpc.benchmarks.suite import BASELINES, baselines
from mkrpc.benchmarks.turns import side_by_side
from mkrpc.errors import InvalidArgumentError, StartUpError

ROOT = Path(__file__).parents[2]

DEMANDED = {
    "delay_over_raw_relay",
    "delay_over_idiomatic",
    "one_per_message_over_idiomatic",
    "one_per_message_cumulative_over_idiomatic",
    "natural_batching_over_one_per_message",
    "burst_over_model_alone",
    "compiled_over_pure",
    "delay_128_over_2",
    "spawn_over_forkserver_128",
}


@pytest.mark.e2e
def test_a_quick_run_balances_and_reports_every_ratio_or_why_not(tmp_path: Path):
    saved, plot = tmp_path / "run.json", tmp_path / "run.svg"
    command = [sys.executable, "-m", "mkrpc", "bench", "--quick", "--no-peers", "--json"]
    done = subprocess.run(
        [*command, "--save", str(saved), "--plot", str(plot)],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    run = json.loads(done.stdout)
    assert run == json.loads(saved.read_text())
    assert run["failures"] == []
    for books in run["books"].values():
        assert books["wrong"] == []
        assert books["written"] == books["delivered"] + books.get("coalesced", 0)
        assert books["handled"] == books["delivered"] > 0
    assert set(run["ratios"]) >= DEMANDED
    for name, ratio in run["ratios"].items():
        assert (ratio["value"] is None) == bool(ratio.get("reason")), name
    measured = {name for name, ratio in run["ratios"].items() if ratio["value"] is not None}
    assert measured >= {
        "delay_over_raw_relay",
        "delay_over_idiomatic",
        "one_per_message_over_idiomatic",
        "one_per_message_cumulative_over_idiomatic",
        "natural_batching_over_one_per_message",
        "burst_over_model_alone",
    }
    assert ElementTree.fromstring(plot.read_text()).tag.endswith("svg")


@pytest.mark.e2e
def test_a_run_of_one_measure_has_nothing_else():
    command = [sys.executable, "-m", "mkrpc", "bench", "--quick", "--no-peers", "--json"]
    done = subprocess.run(
        [*command, "--only", "delay"], capture_output=True, text=True, timeout=110, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    run = json.loads(done.stdout)
    assert {name.split(".")[1] for name in run["figures"]} == {"delay"}
    assert {name for name, ratio in run["ratios"].items() if ratio["value"] is not None} == {
        f"delay_over_{over}{on}"
        for over in ("raw_relay", "idiomatic")
        for on in ("", "_on_aio", "_on_reactor")
    }


def test_a_measure_that_there_is_not():
    with pytest.raises(InvalidArgumentError, match="no measure delays") as raised:
        Plan().restricted_to(["delay", "delays"])
    assert "burst_10k" in raised.value.advice
    assert Plan.quick().restricted_to(["delay"]).wants("delay")
    assert not Plan.quick().restricted_to(["delay"]).wants("burst_10k")


def test_the_model_alone_acknowledges_what_it_has_handled():
    model = Model()
    _, handled, coalesced = ACKNOWLEDGEMENT.unpack(model.accept(words_of(model_words(7))))
    assert (handled, coalesced) == (7, 0)
    cpu = model.kernel.cpu(1)
    cpu.interrupts_enabled = False
    word = words_of(model_words(1) * 3)
    assert ACKNOWLEDGEMENT.unpack(model.accept(word))[1:] == (0, 2)


def test_what_was_written_and_did_nothing_is_a_failure():
    figures = Figures()
    figures.add("a.one", {"seconds": 1.0, "written": 3, "handled": 2, "coalesced": 1})
    assert figures.failures == []
    figures.round = 2
    figures.add("a.one", {"seconds": 1.0, "written": 3, "handled": 2, "coalesced": 0})
    figures.add("a.delay", {"delays_us": [-1.0, 2.0]})
    assert len(figures.failures) == 2
    assert figures["a.one.per_s"].counts == {"written": 6, "handled": 4, "coalesced": 1}


@pytest.mark.parametrize(("percent", "value"), [(50, 50), (99, 99), (100, 100), (1, 1)], ids=str)
def test_a_percentile_is_a_value_that_was_seen(percent: int, value: int):
    assert percentile([float(each) for each in range(1, 101)], percent) == value


def test_a_ratio_is_that_of_the_medians_and_says_its_rounds():
    figures = Figures()
    ratio = RATIOS["delay_over_raw_relay"]
    for figures.round, of, over in ((1, 1.0, 2.0), (2, 6.0, 3.0), (3, 2.0, 4.0)):
        figures.note(ratio.of, of)
        figures.note(ratio.over, over)
    rows = ratios_of(figures, {"startup_128": "there was no time"})
    assert rows["delay_over_raw_relay"]["value"] == round(2 / 3, 4)
    assert rows["delay_over_raw_relay"]["rounds"] == [0.5, 2.0, 0.5]
    missing = rows["spawn_over_forkserver_128"]
    assert missing["value"] is None
    assert "there was no time" in missing["reason"]


def test_what_is_compared_is_measured_one_after_the_other():
    """A machine that is slow for a while is slow for both sides of a ratio."""
    plan = Plan.quick()
    measures = of_mkrpc(plan) + of_model(plan) + of_baselines(plan)
    asked = side_by_side(measures)
    assert sorted(map(id, asked)) == sorted(map(id, measures))
    names = [each.name for each in asked]
    for name in set(names):
        begin = names.index(name)
        assert names[begin : begin + names.count(name)] == [name] * names.count(name)
    delays = [each.subject for each in asked if each.name == "delay"]
    assert delays == ["mkrpc", "raw_relay", "idiomatic"]


def test_a_round_that_failed_in_one_subject_has_no_pair():
    figures = Figures()
    ratio = RATIOS["delay_over_raw_relay"]
    rounds = ((1, 8.0, None), (2, 6.0, 3.0), (3, None, 5.0), (4, 2.0, 4.0))
    for figures.round, of, over in rounds:
        for name, value in ((ratio.of, of), (ratio.over, over)):
            if value is not None:
                figures.note(name, value)
    row = ratios_of(figures, {})["delay_over_raw_relay"]
    assert row["rounds"] == [2.0, 0.5]
    assert row["paired"] == [2, 4]
    assert row["value"] == round(4.0 / 3.5, 4)


def test_figures_without_a_round_in_common_have_no_ratio_but_a_reason():
    figures = Figures()
    ratio = RATIOS["delay_over_raw_relay"]
    figures.note(ratio.of, 1.0)
    figures.round = 2
    figures.note(ratio.over, 1.0)
    row = ratios_of(figures, {})["delay_over_raw_relay"]
    assert row["value"] is None
    assert row["reason"] == f"no round has both {ratio.of} and {ratio.over}"


def test_a_placement_is_a_list_of_cpus_that_one_may_use():
    assert parse_pin("none") is None
    (one,) = parse_pin("one") or ()
    assert parse_pin(f"{one}-{one}") == {one}
    for wrong in ("some", "1,,2", "", "-1", "99999"):
        with pytest.raises(InvalidArgumentError):
            parse_pin(wrong)


def test_every_cpu_is_kept_awake_by_a_process_that_stands_back_for_all_others():
    mine = os.sched_getaffinity(0)
    with kept_awake(mine) as spinning:
        assert len(spinning) == len(mine)
        for pid in spinning:
            while os.sched_getscheduler(pid) != os.SCHED_IDLE:
                assert os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
        assert {cpu for pid in spinning for cpu in os.sched_getaffinity(pid)} == mine
    for pid in spinning:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def subject_of(code: str, tmp_path: Path) -> Subject:
    return Subject("it", ["-c", code], log=tmp_path / "log")


def test_a_subject_that_fails_an_order_goes_on_and_one_that_ends_is_told(tmp_path: Path):
    code = (
        "from mkrpc.benchmarks.serving import serve\n"
        "import os\n"
        "serve({'half': lambda n: 1 / n, 'end': lambda: os._exit(1)}, of='two')\n"
    )
    with subject_of(code, tmp_path) as subject:
        subject.wait_until_ready()
        assert subject.about == {"of": "two"}
        with pytest.raises(OrderFailedError, match="ZeroDivisionError"):
            subject.ask("half", n=0)
        assert subject.ask("half", n=2) == 0.5
        with pytest.raises(StartUpError, match="ended"):
            subject.ask("end")
        assert subject.silent


def test_a_subject_that_cannot_start_is_told_by_its_last_words(tmp_path: Path):
    with subject_of("raise SystemExit('no such thing')", tmp_path) as subject:
        with pytest.raises(StartUpError) as told:
            subject.wait_until_ready()
        assert "no such thing" in told.value.advice


def test_the_path_of_an_interrupt_names_every_step_and_what_it_took():
    for words in (1, 50):
        found = path.measure(words=words, rings=20)
        assert list(found) == list(path.STEPS)
        assert min(list(found.values())[: path.TO_HANDLER]) > 0


@pytest.mark.parametrize(
    ("revision", "why"),
    [("no-such-revision", "cannot be had"), ("e95e5dd", "older than this benchmark")],
)
def test_a_commit_that_cannot_be_compared_is_told(tmp_path: Path, revision: str, why: str):
    if revision == "e95e5dd" and not is_clone_with(revision):
        pytest.skip("the sources are not a whole clone")
    with pytest.raises(InvalidArgumentError, match=why), sources_of(revision, tmp_path):
        pass


def test_without_the_sources_every_baseline_has_a_reason(tmp_path: Path):
    found, reasons = baselines(tmp_path, peers=True)
    assert found == {}
    assert set(reasons) == {"raw_relay", "idiomatic", *PEERS}
    assert all("part of the sources" in reason for reason in reasons.values())
    found, reasons = baselines(BASELINES, peers=True)
    assert set(found) == {"raw_relay", "idiomatic", *PEERS}
    assert reasons == {}


@pytest.mark.full
@pytest.mark.e2e
def test_every_peer_that_is_installed_does_the_same_work(tmp_path: Path):
    found, _ = baselines(BASELINES, peers=True)
    done = set()
    for name in PEERS:
        with Subject(name, found[name].arguments, log=tmp_path / name) as subject:
            subject.wait_until_ready()
            if subject.about.get("missing", "").startswith("not installed"):
                continue
            assert min(subject.ask("delay", count=20, word=234)["delays_us"]) > 0
            answer = subject.ask("stream", messages=30, words=model_words(100), window=7)
            assert answer["written"] == answer["handled"] == 3000
            done.add(name)
    assert done >= {"unix_socket", "pipe", "queue_broker", "shared_memory"}


@pytest.mark.full
@pytest.mark.e2e
def test_a_tree_is_compared_with_a_commit_of_it():
    if not is_clone_with("HEAD"):
        pytest.skip("the sources are not a clone")
    found = compare("HEAD", Plan.quick())
    assert found["failures"] == []
    assert found["ratios"]["mkrpc.burst_10k.per_s"] > 0
    assert all(before.replace("before", "after") in found["figures"] for before in found["figures"])


def is_clone_with(revision: str) -> bool:
    command = ["git", "cat-file", "-e", f"{revision}:mkrpc/benchmarks/__init__.py"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, check=False).returncode == 0
