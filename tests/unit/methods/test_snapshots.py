"""Snapshots: a load's own copies are whole, unchanged and of one moment, or they are not loaded."""

import errno
import os
import pathlib
from collections.abc import Callable

import pytest

from dshpc_server.methods import snapshots, tree
from support import methods_site

Site = methods_site.Site


def _overwrite(directory: pathlib.Path) -> None:
    (directory / "main.py").chmod(0o644)
    (directory / "main.py").write_text("print('evil')\n")


def _add(directory: pathlib.Path) -> None:
    directory.chmod(0o755)
    (directory / "json.py").write_text("print('evil')\n")


def _make_executable(directory: pathlib.Path) -> None:
    (directory / "main.py").chmod(0o555)


def _remove_script(directory: pathlib.Path) -> None:
    directory.chmod(0o755)
    (directory / "main.py").unlink()


def _replace_with_link(directory: pathlib.Path) -> None:
    aside = directory.with_name("aside")
    directory.rename(aside)
    directory.symlink_to(aside)


TAMPERING = pytest.mark.parametrize(
    "tamper", [_overwrite, _add, _make_executable, _remove_script, _replace_with_link]
)


@TAMPERING
def test_a_tampered_snapshot_is_rebuilt(site: Site, tamper: Callable[[pathlib.Path], None]) -> None:
    site.install()
    methods = site.catalog()
    methods.load()
    version = methods.current()["hello"]
    tamper(version.directory)

    assert methods.load().broken == ()

    assert methods.current()["hello"] == version
    assert [path.name for path in version.directory.iterdir()] == ["main.py"]
    assert (version.directory / "main.py").read_text() == methods_site.HELLO
    assert not version.directory.is_symlink()


@TAMPERING
def test_a_tampered_snapshot_whose_source_is_gone_is_reported_and_left_out(
    site: Site, tamper: Callable[[pathlib.Path], None]
) -> None:
    site.install()
    methods = site.catalog()
    methods.load()
    version = methods.current()["hello"]
    site.install(files={"main.py": "print('new')\n"})
    tamper(version.directory)

    again = site.catalog()
    report = again.load()

    assert list(methods_site.broken(report).values()) == [
        "its snapshot is damaged, and the source is gone"
    ]
    assert again.version("hello", version.function_hash) is None
    assert [each.name for each in again.versions("hello")] == ["hello"]

    site.install()
    again.load()
    assert again.version("hello", version.function_hash) == version
    assert len(again.versions("hello")) == 2


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 2}', '{"format": 1}'])
def test_a_damaged_record_is_reported_and_made_anew(site: Site, text: str) -> None:
    site.install()
    methods = site.catalog()
    methods.load()
    (record,) = site.snapshots_dir.rglob("*.json")
    record.write_text(text)

    again = site.catalog()
    assert record.name in methods_site.broken(again.load())
    assert again.current() == methods.current()
    assert methods_site.broken(site.catalog().load()) == {}


def test_a_record_that_was_moved_to_another_name_is_not_believed(site: Site) -> None:
    site.install()
    site.catalog().load()
    (record,) = site.snapshots_dir.rglob("*.json")
    moved = record.parent.with_name("other") / record.name
    moved.parent.mkdir()
    record.rename(moved)
    again = site.catalog()
    assert methods_site.broken(again.load()) == {record.name: "is the record of another version"}
    assert again.versions("other") == ()


def test_what_an_interrupted_load_left_is_removed(site: Site) -> None:
    site.install()
    trees = site.snapshots_dir / "trees"
    (trees / (".new-" + "0" * 64) / "lib").mkdir(parents=True)
    (trees / (".old-" + "0" * 64)).mkdir()
    (trees / (".new-" + "0" * 64) / "lib").chmod(0o555)
    methods = methods_site.loaded(site)
    assert [path.name for path in trees.iterdir()] == [methods.current()["hello"].function_hash]


def test_a_folder_that_changes_while_it_is_copied_is_read_again(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.install()
    _change_while_copying(monkeypatch, site, times=2)
    methods = methods_site.loaded(site)
    version = methods.current()["hello"]
    assert (version.directory / "main.py").read_text() == "change 2"
    assert version.function_hash == tree.function_hash(version.directory, version)
    assert [path.name for path in version.directory.parent.iterdir()] == [version.function_hash]


def test_a_folder_that_never_stops_changing_is_reported(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.install()
    _change_while_copying(monkeypatch, site, times=1_000)
    report = site.catalog().load()
    assert methods_site.broken(report) == {
        "hello.json": "the script folder keeps changing while it is read",
    }
    assert list((site.snapshots_dir / "trees").iterdir()) == []


def _change_while_copying(monkeypatch: pytest.MonkeyPatch, site: Site, *, times: int) -> None:
    copy, changes = tree.copy, iter(range(1, times + 1))

    def changing_copy(source: pathlib.Path, target: pathlib.Path) -> None:
        change = next(changes, None)
        if change is not None:
            (site.scripts() / "main.py").write_text(f"change {change}")
        copy(source, target)

    monkeypatch.setattr(tree, "copy", changing_copy)


@pytest.mark.parametrize("step", [(tree, "copy"), (snapshots.Snapshots, "_install")])
def test_a_load_that_fails_half_way_leaves_nothing_and_the_next_one_works(
    site: Site, monkeypatch: pytest.MonkeyPatch, step: tuple[object, str]
) -> None:
    site.install()
    methods = site.catalog()

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(*step, fail)
        assert methods_site.broken(methods.load()) == {"hello.json": "No space left on device"}
    assert list((site.snapshots_dir / "trees").iterdir()) == []

    methods.load()
    assert set(methods.current()) == {"hello"}


@pytest.mark.parametrize("shortage", [errno.ENOSPC, errno.EMFILE])
def test_a_method_that_there_is_no_room_for_stays_what_it_was(
    site: Site, monkeypatch: pytest.MonkeyPatch, shortage: int
) -> None:
    site.install()
    installed = site.catalog()
    installed.load()
    before = installed.current()["hello"]
    site.install(files={"main.py": "print('newer')\n"})
    site.install("other", {"main.py": "print('other')\n"})

    def copy(source: pathlib.Path, target: pathlib.Path) -> None:
        raise OSError(shortage, os.strerror(shortage), str(target), None, str(source))

    with monkeypatch.context() as patched:
        patched.setattr(tree, "copy", copy)
        report = installed.load()
    assert installed.current() == {"hello": before}
    assert report.removed == report.changed == ()
    assert [one.file for one in report.broken] == [
        site.manifest_file("hello"),
        site.manifest_file("other"),
    ]
    assert installed.load().changed == ("hello",)
    assert installed.current().keys() == {"hello", "other"}
