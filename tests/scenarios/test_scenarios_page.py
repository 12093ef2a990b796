"""The page of the scenarios: its table is the library's, and its own scenario plays."""

import re
import subprocess
import sys
from pathlib import Path

from click.testing import CliRunner

from mkrpc.cli import main
from mkrpc.scenarios.catalogue import scenarios

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "scenarios.md"


def test_the_table_is_what_the_scenarios_say(tmp_path):
    written = tmp_path / "scenarios.md"
    script = ROOT / "tests" / "document_scenarios.py"
    subprocess.run([sys.executable, script, written], check=True, timeout=60)
    assert written.read_text() == PAGE.read_text(), "run python tests/document_scenarios.py"
    for name in scenarios():
        assert f"| `{name}` | " in PAGE.read_text()


def test_the_ten_thousand_seeds_of_every_remedy_are_on_the_page():
    played = re.findall(
        r"^\| `(\S+)` \| (`.*`) \| 10000 \| 0 \| 0 \|$", PAGE.read_text(), re.MULTILINE
    )
    assert played == [
        (name, " ".join(f"`{key}={value}`" for key, value in remedy.items()))
        for name, scenario in scenarios().items()
        for remedy in scenario.remedies
    ]


def test_the_scenario_of_the_page_shows_its_defect_and_its_remedy(tmp_path):
    code = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert len(code) == 1
    path = tmp_path / "store_then_load.py"
    path.write_text(code[0])
    done = CliRunner().invoke(main, ["sim", str(path), "--seeds", "40", "--jobs", "1"])
    assert done.exit_code == 0, done.output
    assert "remedy fence=yes: 0 of 40 seeds show it" in done.stdout


def test_the_commands_of_the_page_are_commands(monkeypatch):
    block = re.search(r"^```sh\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert block is not None
    for line in block[1].splitlines():
        words = line.partition("#")[0].split()
        words = [word if not word.isdigit() or int(word) < 100 else "2" for word in words]
        done = CliRunner().invoke(
            main, [*words[1:], *(["--seeds", "2"] if len(words) == 3 else [])]
        )
        assert done.exit_code in {0, 1}, (line, done.output)
