"""``mkrpc compare``: its table, JSON keys and exit codes."""

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mkrpc.cli import main
from mkrpc.instance.multikernel.catalogue import channels
from mkrpc.simulation.message_defects import DEFECTS

PAGE = Path(__file__).parent.parent.parent / "docs" / "messages.md"
SCREENS = re.findall(r"^\$ mkrpc compare (.*)\n((?:.*\n)+?)```", PAGE.read_text(), re.MULTILINE)


def compare(*args: object) -> Result:
    return CliRunner().invoke(main, ["compare", *map(str, args)])


def test_all_channels_have_a_row_under_a_heading() -> None:
    result = compare("--messages", 2)
    assert result.exit_code == 0, result.output
    heading, *lines = result.stdout.splitlines()
    assert heading.split() == [
        *("channel", "sent", "received", "lost", "held", "torn", "doubled", "hung", "wedged"),
        *("doorbells", "msgs/doorbell", "coalesced", "p50", "p99", "max"),
    ]
    assert [line.split()[0] for line in lines] == list(channels())


def test_json_has_the_workload_and_a_report_for_each_channel() -> None:
    result = compare(
        *("link-rings", "mailbox", "--seed", 3, "--seeds", 4, "--senders", 2, "--messages", 3),
        *("--size", 64, "--gap", 5, "--link-every", 9, "--store-buffer", 4, "--kill", "--json"),
    )
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["seed"] == 3
    assert found["workload"] == {
        "senders": 2,
        "messages": 3,
        "size": 64,
        "kill": True,
        "link_every": 9,
        "gap": 5,
        "store_buffer": 4,
    }
    first, second = found["channels"]
    assert (first["channel"], second["channel"]) == ("link-rings", "mailbox")
    assert first["runs"] == 4
    assert first["lost"] == first["torn"] == first["wedged"] == 0
    assert {
        *("sent", "received", "held", "doubled", "refused", "hung", "killed", "doorbells"),
        *("interrupts", "ticks", "messages_per_doorbell", "coalescing_ratio"),
        *("latency_p50", "latency_p99", "latency_max"),
    } <= first.keys()


def test_the_same_command_prints_the_same() -> None:
    assert compare("--seed", 9).stdout == compare("--seed", 9).stdout


@pytest.mark.parametrize("defect", DEFECTS.values(), ids=DEFECTS)
def test_a_defect_is_shown_beside_the_default_channel(defect) -> None:
    result = compare("--defect", defect.name)
    assert result.exit_code == 0, result.output
    assert f"seed {defect.seed} shows it" in result.stdout
    rows = [line.split()[0] for line in result.stdout.splitlines()[2:]]
    assert rows == [defect.channel, "link-rings"]


def test_a_seed_that_does_not_show_a_defect_exits_1() -> None:
    result = compare("--defect", "mpsc-claimed-slot-skipped", "--seed", 1, "--json")
    assert result.exit_code == 1, result.output
    found = json.loads(result.stdout)
    assert (found["defect"], found["shown"]) == ("mpsc-claimed-slot-skipped", False)


def test_the_list_names_channels_and_defects() -> None:
    result = compare("--list")
    assert result.exit_code == 0
    assert "default link-rings" in result.stdout
    found = json.loads(compare("--list", "--json").stdout)
    assert found["channels"] == list(channels())
    assert [each["name"] for each in found["defects"]] == list(DEFECTS)


def test_a_file_brings_its_own_channel(tmp_path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(
        "from mkrpc.instance.multikernel.channels.link_rings import LinkRings\n"
        "class Mine(LinkRings):\n    name = 'mine'\n"
    )
    result = compare(path, "ump")
    assert result.exit_code == 0, result.output
    assert [line.split()[0] for line in result.stdout.splitlines()[1:]] == ["mine", "ump"]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["pigeon"], "no channel 'pigeon'"),
        (["nowhere.py"], "nowhere.py: there is no such file"),
        (["--defect", "none"], "no defect 'none'"),
        (["--defect", "mailbox-overwrite", "ump"], "--defect names its channel"),
        (["--senders", "99"], "senders 99 is out of range: 1 to 15"),
        (["--size", "8"], "size 8 is out of range"),
        (["--seeds", "0"], "out of range"),
    ],
)
def test_what_cannot_be_is_one_line_and_advice_and_exits_2(args, message) -> None:
    result = compare(*args)
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert len(result.stderr.splitlines()) <= 2


def test_the_page_has_two_screens() -> None:
    assert [command for command, _ in SCREENS] == [
        "--seeds 200 --kill",
        "--defect publish-flag-wedged",
    ]


@pytest.mark.parametrize(
    ("command", "screen"),
    [
        pytest.param(*screen, marks=[pytest.mark.full] if "--seeds" in screen[0] else [])
        for screen in SCREENS
    ],
)
def test_a_screen_of_the_page_is_what_is_printed(command: str, screen: str) -> None:
    assert compare(*command.split()).stdout == screen
