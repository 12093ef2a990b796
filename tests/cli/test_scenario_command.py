"""``mkrpc sim SCENARIO``: what it prints, the JSON keys, the exit codes."""

import json

import pytest
from click.testing import CliRunner, Result

from mkrpc.cli import main
from mkrpc.scenarios.catalogue import scenarios

MINE = '''
from mkrpc.instance.kernel import KernelConfig
from mkrpc.scenarios.scenario import Scenario, Switch


class Mine(Scenario):
    """An odd number is drawn

    Whatever else.
    """

    name = "mine"
    switches = (Switch("numbers", "which are drawn", ("all", "even")),)
    defect = {"numbers": "all"}
    remedies = ({"numbers": "even"},)
    seed = 3

    def play(self):
        self.stage.set_up([KernelConfig(instance_id=0, name="mk0", apic_ids=(0,))])
        self.drawn = self.stage.draw(10) * (2 if self.stage.choose("numbers") == "even" else 1)
        self.stage.tell(f"drew {self.drawn}")

    def check(self):
        return [f"{self.drawn} is odd"] if self.drawn % 2 else []
'''


def sim(*args: object) -> Result:
    return CliRunner().invoke(main, ["sim", *map(str, args)])


def test_the_list_has_every_scenario_with_its_title():
    result = sim("--list")
    assert result.exit_code == 0, result.output
    heading, *lines = result.stdout.splitlines()
    assert heading.split()[0] == "scenario"
    assert [line.split()[0] for line in lines] == list(scenarios())
    found = json.loads(sim("--list", "--json").stdout)["scenarios"]
    assert [each["scenario"] for each in found] == list(scenarios())


def test_a_scenario_shows_what_it_is_its_defect_and_its_remedies():
    result = sim("doorbell-coalesced", "--seeds", 5, "--jobs", 1)
    assert result.exit_code == 0, result.output
    assert "\nHardware: " in result.stdout
    assert "\nUpstream: " in result.stdout
    assert "defect drain=four kick=no: seed 23 shows it" in result.stdout
    assert "remedy kick=yes: 0 of 5 seeds show it, from seed 1 on" in result.stdout


def test_what_is_printed_to_replay_it_shows_it_again():
    first = sim("doorbell-coalesced", "--defect").stdout
    replay = next(line for line in first.splitlines() if line.startswith("  replay: "))
    again = sim(*replay.split()[3:])
    assert again.exit_code == 1, again.output
    assert "set drain=four kick=no: seed 23 shows it" in again.stdout
    assert again.stdout == sim(*replay.split()[3:]).stdout
    assert any(line.endswith("delivered x 1") for line in again.stdout.splitlines())


def test_json_has_what_it_is_and_every_run():
    result = sim("xapic-icr-busy", "--seeds", 2, "--jobs", 1, "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found.keys() == {
        *("scenario", "title", "text", "switches", "defect", "remedies", "seed", "runs"),
    }
    assert [run["kind"] for run in found["runs"]] == ["defect", "remedy", "remedy", "remedy"]
    for run in found["runs"]:
        assert run.keys() == {
            *("kind", "changes", "settings", "first_seed", "seeds", "shown", "broken"),
            *("held", "example", "digest"),
        }
    assert found["runs"][0]["example"]["findings"]
    one = json.loads(sim("xapic-icr-busy", "--defect", "--seed", 0, "--steps", "--json").stdout)
    assert one["steps"]


def test_processes_change_nothing():
    one, two = (
        json.loads(sim("xapic-icr-busy", "--remedy", "--seeds", 12, "--jobs", n, "--json").stdout)
        for n in (1, 2)
    )
    assert one == two


def test_all_are_a_table_of_what_was_shown(tmp_path):
    result = sim("all", "--seeds", 1)
    assert result.exit_code == 0, result.output
    rows = [line.split() for line in result.stdout.splitlines()[1:]]
    expected = [
        (name, kind)
        for name, each in scenarios().items()
        for kind in ("defect", *("remedy" for _ in each.remedies))
    ]
    assert [(row[0], row[1]) for row in rows] == expected
    assert {row[-1] for row in rows if row[1] == "remedy"} == {"0"}


def test_a_file_brings_its_own(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(MINE)
    result = sim(path, "--seeds", 12, "--jobs", 2)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("mine: An odd number is drawn\n\nWhatever else.\n")
    assert sim(path, "--set", "numbers=all").exit_code == 1
    path.write_text(MINE.replace('"numbers": "even"', '"numbers": "all"'))
    worse = sim(path, "--remedy", "--seeds", 30, "--jobs", 1)
    assert worse.exit_code == 1
    assert " is odd" in worse.stdout


def test_a_defect_that_does_not_show_exits_1(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(MINE.replace("drawn % 2", "drawn > 99"))
    assert sim(path, "--defect").exit_code == 1
    result = sim(path, "--defect", "--seeds", 3, "--jobs", 1)
    assert (result.exit_code, "0 of 3 seeds show it" in result.stdout) == (1, True)


def test_what_must_always_hold_is_told_apart_from_a_defect(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        MINE + "        \n\n    def check(self):\n"
        "        self.stage.broken.append('nonsense')\n        return ['odd']\n"
    )
    result = sim(path, "--defect")
    assert result.exit_code == 1
    assert "nonsense" in result.stdout


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["pigeon"], "no scenario 'pigeon'"),
        (["late-replay"], "did you mean late-reply?"),
        (["nowhere.py"], "nowhere.py: there is no such file"),
        (["doorbell-coalesced", "--set", "colour=red"], "has no switch 'colour'"),
        (["doorbell-coalesced", "--set", "kick=red"], "kick of doorbell-coalesced is not 'red'"),
        (["doorbell-coalesced", "--set", "kick"], "is no SWITCH=VALUE"),
        (["doorbell-coalesced", "--steps"], "--steps is for one seed"),
        (["doorbell-coalesced", "--defect", "--remedy"], "--defect, --remedy and --set exclude"),
        (["doorbell-coalesced", "--seed", "1", "--seeds", "2"], "--seed and --seeds exclude"),
        (["doorbell-coalesced", "--without", "f1"], "--without is for runs without a scenario"),
        (["all", "--seed", "1"], "--set, --seed and --steps are for one scenario"),
        (["--defect"], "--defect, --remedy and --set are for a scenario"),
    ],
)
def test_what_cannot_be_is_one_line_and_advice_and_exits_2(args, message):
    result = sim(*args)
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 2
    assert result.stderr.splitlines()[1].startswith("  → ")
    assert result.stdout == ""
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (('name = "mine"', "number = 1"), "defines no scenario"),
        (("class Mine(Scenario", "class Mine(Mine"), "NameError"),
        (("    remedies = ({", "    cures = ({"), "scenario mine has no remedies"),
        (('{"numbers": "even"},', ""), "has no remedy, or one that changes nothing"),
        (('defect = {"numbers": "all"}', "defect = {}"), "must have a value for each of numbers"),
        (('{"numbers": "even"}', '{"numbers": "odd"}'), "numbers of mine is not 'odd'"),
        (('"""An odd number is drawn\n\n    Whatever else.\n    """', ""), "has no docstring"),
    ],
)
def test_a_file_that_is_no_scenario_is_refused_in_a_line(tmp_path, change, message):
    path = tmp_path / "mine.py"
    assert change[0] in MINE
    path.write_text(MINE.replace(*change))
    result = sim(path)
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert len(result.stderr.splitlines()) <= 2
