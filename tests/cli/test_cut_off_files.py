"""A machine that stopped may have left a cluster's files empty: every command still goes."""

import pytest

FILES = ["cluster.json", "config.json"]


@pytest.fixture
def cut_off(tmp_path):
    """``cut_off(file)``: the directory of a cluster ``c``, in which that file is empty."""
    tmp_path.chmod(0o700)

    def make(file):
        directory = tmp_path / "c"
        directory.mkdir(mode=0o700)
        (directory / "made-by-mkrpc").touch()
        (directory / file).touch()
        return directory

    return make


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("name", ["c", "other"])
def test_no_cluster_is_found_there(run, told, cut_off, file, name):
    cut_off(file)
    result = run("show", "--name", name)
    assert result.exit_code == 3, result.output
    assert name in told(result)[0]


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("which", [["--name", "c"], ["--all"]])
def test_down_clears_it_away(run, cut_off, file, which):
    directory = cut_off(file)
    result = run("down", *which)
    assert result.exit_code == 0, result.output
    assert not directory.exists()
