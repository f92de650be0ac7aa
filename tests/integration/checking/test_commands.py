"""`check` and `migrate` as an administrator meets them: flags, refusals, nodes that are gone."""

import contextlib
import datetime
import errno
from collections.abc import Callable

import pytest

from dshpc_server import __main__, config, errors, logs, maintenance
from dshpc_server.engine.slurm import places
from dshpc_server.store import port
from support import checked_damage
from support.checked_site import SCOPE, Site


def settings(made: Site, **flags: object) -> config.Settings:
    given = {"data_dir": made.data_dir, "methods_dir": "none", **flags}
    return config.load(None, given)


@pytest.fixture(autouse=True)
def _log_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loggers keep where they write to: not to what a test takes for its standard error."""
    monkeypatch.setattr(logs, "configure", lambda **_: None)


@pytest.fixture(autouse=True)
def _second_look_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is wrong is looked at twice; nothing changes between the two here."""
    monkeypatch.setattr(maintenance, "SECOND_LOOK_SECONDS", 0.01)


@pytest.mark.parametrize("command", ["check", "migrate"])
def test_the_commands_take_every_setting(capsys: pytest.CaptureFixture[str], command: str) -> None:
    with pytest.raises(SystemExit) as ended:
        __main__.main([command, "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert ended.value.code == 0
    for name in config.Settings.model_fields:
        assert f"--{name.replace('_', '-')} " in shown


@pytest.mark.parametrize(
    "words", [["--node-is-gone=n1"], ["--format=xml"], ["--rep"], ["--node-is-gone"]]
)
def test_flags_that_make_no_sense_are_refused(
    capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        __main__.main(["check", *words])
    assert ended.value.code == 2
    assert capsys.readouterr().out == ""


def test_a_check_changes_nothing_and_a_repair_only_what_is_wrong(
    made: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    made.content(b"nobody knows of this").parent.mkdir(parents=True)
    made.content(b"nobody knows of this").write_bytes(b"nobody knows of this")
    assert maintenance.run_check(settings(made), "text"), "notes alone"
    assert "note: content_is_recorded: " in capsys.readouterr().out
    assert "content_is_recorded" in made.broken()
    assert maintenance.run_repair(settings(made), "text", [])
    assert "\n  repaired: recorded\n" in capsys.readouterr().out
    assert made.broken() == {"owner_lives"}


def test_a_problem_that_is_left_is_told_and_counted(
    made: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    with made.by_hand() as connection:
        connection.execute("UPDATE attempts SET cpus = 0 WHERE job_id = :kept", made.job_ids())
    assert not maintenance.run_check(settings(made), "text")
    assert not maintenance.run_repair(settings(made), "text", [])
    told = capsys.readouterr().out
    assert "ck_attempts_cpus_from_1: it breaks a rule of the tables: job " in told
    assert "\n  left: this cannot be repaired safely\n" in told


def test_a_folder_of_which_something_runs_on_a_cluster_is_left(
    made: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = made.data_dir / checked_damage.leave_a_folder(made)
    at = datetime.datetime.fromtimestamp(0, datetime.UTC)
    place = places.Place(array="dshpc-1-2", index=7, position=0, packing=None, at=at)
    places.write(folder, f"{folder.parent.name}.{folder.name}", place)
    shown = made.data_dir / "engine" / "slurm" / "arrays" / place.array / "now" / "7"
    shown.parent.mkdir(parents=True)
    shown.touch()
    assert maintenance.run_repair(settings(made), "text", []), "notes alone"
    assert "\n  left: a process of it runs\n" in capsys.readouterr().out
    assert folder.is_dir()


def test_a_repair_needs_the_store_for_itself(made: Site) -> None:
    with contextlib.closing(made.open()), pytest.raises(port.StoreInUseError):
        maintenance.run_repair(settings(made), "text", [])


@pytest.mark.parametrize("run", [maintenance.run_check, maintenance.run_repair])
def test_a_data_folder_that_is_not_there_is_not_taken_for_one_that_lost_everything(
    made: Site, run: Callable[..., bool]
) -> None:
    elsewhere = settings(made, store=f"sqlite:///{made.store}", data_dir=made.data_dir / "mistyped")
    more: list[list[str]] = [[]] if run is maintenance.run_repair else []
    with pytest.raises(config.ConfigError, match="mistyped/files: No such file or directory"):
        run(elsewhere, "text", *more)
    assert "content_is_there" not in made.broken()


def test_what_may_not_be_read_is_told_and_is_no_problem_of_the_data(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "data/files/ab")

    monkeypatch.setattr(maintenance, "run_check", refuse)
    assert __main__.main(["check"]) == 78
    assert "Permission denied: 'data/files/ab'\n" in capsys.readouterr().err


def test_what_stands_in_the_way_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(_: config.Settings) -> None:
        raise errors.DshpcError("connection failed: refused\n\tIs the server running?\n")

    monkeypatch.setattr(maintenance, "run_migrate", refuse)
    assert __main__.main(["migrate"]) == 78
    assert capsys.readouterr().err == (
        "dshpc-server: connection failed: refused Is the server running?\n"
    )


def test_max_retries_is_the_bound_that_is_set(made: Site) -> None:
    assert maintenance.run_check(settings(made), "text")
    assert not maintenance.run_check(settings(made, max_retries=0), "text")


def test_what_ran_on_a_node_that_is_gone_is_ended(
    made: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    assert maintenance.run_repair(settings(made), "text", ["elsewhere"])
    assert "no server of local/elsewhere has left anything\n" in capsys.readouterr().out


def test_what_ran_on_the_node_of_a_store_in_a_file_is_ended(
    made: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    node = SCOPE.removeprefix("local/")
    assert maintenance.run_repair(settings(made), "text", [node])
    job_id = made.job_id("running")
    assert capsys.readouterr().out.splitlines()[:2] == [
        f"{SCOPE} is gone: job {job_id} attempt 1 is NODE_FAIL",
        f"{SCOPE} is gone: job {job_id} attempt 2 is PENDING",
    ]
    assert made.broken() <= {"times_are_in_order"}


def test_a_setting_that_names_no_store_is_told(made: Site) -> None:
    with pytest.raises(config.ConfigError, match="store: a store of kind 'mysql' is not known"):
        maintenance.run_check(settings(made, store="mysql://host/database"), "text")
    with pytest.raises(errors.NotFoundError):
        maintenance.run_migrate(settings(made, store=f"sqlite:///{made.data_dir}/other.sqlite"))
    (made.data_dir / "empty.sqlite").touch()
    with pytest.raises(port.StoreUnusableError, match="it is empty; the first server"):
        maintenance.run_migrate(settings(made, store=f"sqlite:///{made.data_dir}/empty.sqlite"))
