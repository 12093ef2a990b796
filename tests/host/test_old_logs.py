"""The logs of deleted instances stay for a while."""

from pathlib import Path

from mkrpc.host.old_logs import MAX_OLD_LOGS, OldLogs


def test_the_logs_of_the_last_deleted_instances_stay(tmp_path: Path):
    old = OldLogs(tmp_path)
    for number in range(MAX_OLD_LOGS + 2):
        (tmp_path / f"mk{number}.log").touch()
        old.deleted(f"mk{number}")
    assert not (tmp_path / "mk0.log").exists()
    assert not (tmp_path / "mk1.log").exists()
    assert len(list(tmp_path.iterdir())) == MAX_OLD_LOGS


def test_both_files_of_a_log_go_and_none_need_be_there(tmp_path: Path):
    old = OldLogs(tmp_path)
    for end in ("log", "log.1"):
        (tmp_path / f"web.{end}").touch()
    old.deleted("web")
    for number in range(MAX_OLD_LOGS):
        old.deleted(f"never-ran-{number}")
    assert list(tmp_path.iterdir()) == []


def test_an_instance_that_is_created_again_keeps_its_log(tmp_path: Path):
    old = OldLogs(tmp_path)
    (tmp_path / "web.log").touch()
    old.deleted("web")
    old.created("web")
    for number in range(MAX_OLD_LOGS):
        old.deleted(f"other{number}")
    assert (tmp_path / "web.log").exists()


def test_who_is_deleted_again_is_the_youngest(tmp_path: Path):
    old = OldLogs(tmp_path)
    (tmp_path / "web.log").touch()
    for number in range(MAX_OLD_LOGS):
        old.deleted("web" if number in (0, MAX_OLD_LOGS - 1) else f"other{number}")
    old.deleted("one-more")
    assert (tmp_path / "web.log").exists()
