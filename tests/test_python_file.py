"""A Python file of the user's: what is wrong with it is told in one line, with its own."""

from pathlib import Path

import pytest

from mkrpc.errors import InvalidArgumentError
from mkrpc.python_file import execute


def test_it_is_executed(tmp_path):
    (tmp_path / "fine.py").write_text("ANSWER = 42\n")
    assert execute(tmp_path / "fine.py", wanted="").ANSWER == 42


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x = 1\ndef f():\n    raise ValueError('boo')\nf()\n", ", line 3: ValueError: boo"),
        ("import json\njson.loads('{')\n", ", line 2: JSONDecodeError: "),
        ("x = 1\ny = (\n", ", line 2: SyntaxError: "),
        ("import sys\nsys.exit(0)\n", ", line 2: SystemExit: 0"),
        ("import nowhere_at_all\n", ", line 1: ModuleNotFoundError: "),
    ],
)
def test_what_it_raises_has_its_line(tmp_path, monkeypatch, text, says):
    monkeypatch.chdir(tmp_path)
    path = Path("file.py")
    path.write_text(text)
    with pytest.raises(InvalidArgumentError) as refused:
        execute(path, wanted="")
    assert str(refused.value).startswith(f"{path}{says}")
    assert refused.value.advice == f"mend it; python {path} shows its whole traceback"


@pytest.mark.parametrize(
    ("name", "says"), [("none.py", "there is no such file"), (".", "no Python file")]
)
def test_what_is_no_file_is_told_what_is_wanted(tmp_path, name, says):
    with pytest.raises(InvalidArgumentError, match=says) as refused:
        execute(tmp_path / name, wanted="a scenario")
    assert refused.value.advice == "a scenario"
