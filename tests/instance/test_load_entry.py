"""``package.module:name``: what it finds, and one typed error for whatever it does not."""

import collections
import json

import pytest

from mkrpc.errors import TopologyError
from mkrpc.instance.programs import load_entry


@pytest.mark.parametrize(
    ("entry", "found"),
    [
        ("json:dumps", json.dumps),
        ("json.decoder:JSONDecoder", json.decoder.JSONDecoder),
        ("collections:OrderedDict.fromkeys", collections.OrderedDict.fromkeys),
    ],
)
def test_an_entry_is_the_callable_that_it_names(entry, found):
    assert load_entry(entry) == found


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ("json", "'json' names no program"),
        ("json:", "'json:' names no program"),
        (":dumps", "':dumps' names no program"),
        ("", "'' names no program"),
        ("no.such.module:run", r"cannot import 'no\.such\.module'"),
        ("json.nothing:run", r"cannot import 'json\.nothing'"),
        ("json:nothing", "json has no callable 'nothing'"),
        ("json:dumps.nothing.more", r"json has no callable 'dumps\.nothing\.more'"),
        ("json:__name__", "json has no callable '__name__'"),
        ("json:decoder", "json has no callable 'decoder'"),
        (".json:dumps", "raised TypeError"),
    ],
)
def test_an_entry_that_names_nothing_is_told_by_its_name(entry, says):
    with pytest.raises(TopologyError, match=says) as refused:
        load_entry(entry)
    assert refused.value.advice


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("import no_such_thing_at_all", "cannot import 'broken'.*no_such_thing_at_all"),
        ("def ping(cpu:", "importing 'broken'.*raised SyntaxError"),
        ("raise ValueError('not today')", "importing 'broken'.*raised ValueError: not today"),
        ("raise SystemExit('usage')", "importing 'broken'.*raised SystemExit: usage"),
    ],
    ids=["a missing import", "no Python", "it raises", "it exits"],
)
def test_a_module_that_cannot_be_imported_is_no_bug_of_ours(tmp_path, monkeypatch, source, says):
    (tmp_path / "broken.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(TopologyError, match=says):
        load_entry("broken:ping")
