"""Passing over script folders that have not changed: no change is ever passed over."""

import datetime
import os
import pathlib
from collections.abc import Callable

import pytest

from dshpc_server.methods import catalog, marks, method, tree
from support import methods_site

Site = methods_site.Site
FILES = {"main.py": methods_site.HELLO, "lib/part.py": "x = 1\n"}


@pytest.fixture
def site(tmp_path: pathlib.Path) -> Site:
    """A site with one method. Its clock is years ahead: what is on the disk is long settled."""
    made = Site(tmp_path)
    made.install(files=FILES)
    let_time_pass(tmp_path / "tick")
    return made


def let_time_pass(probe: pathlib.Path) -> None:
    """Wait for the next tick of the file system's clock: within one, two changes look the same."""
    probe.touch()
    before = probe.stat().st_ctime_ns
    while probe.stat().st_ctime_ns == before:
        probe.touch()


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[pathlib.Path]:
    """The folders that are read."""
    read: list[pathlib.Path] = []
    function_hash = tree.function_hash

    def counted(folder: pathlib.Path, manifest: method.Manifest) -> str:
        read.append(folder)
        return function_hash(folder, manifest)

    monkeypatch.setattr(tree, "function_hash", counted)
    return read


def rewrite_with_its_times(file: pathlib.Path) -> None:
    """Change as little as can be seen: neither size nor the time of the last write."""
    status = file.stat()
    file.write_text("y" + file.read_text()[1:])
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))


def replace(file: pathlib.Path) -> None:
    new = file.with_name("new")
    new.write_text("y" + file.read_text()[1:])
    status = file.stat()
    os.utime(new, ns=(status.st_atime_ns, status.st_mtime_ns))
    new.rename(file)


def add_beside(file: pathlib.Path) -> None:
    (file.parent / "added.py").touch()


def make_executable(file: pathlib.Path) -> None:
    file.chmod(0o700)


def rename(file: pathlib.Path) -> None:
    file.rename(file.with_name("renamed.py"))


def rename_folder(file: pathlib.Path) -> None:
    file.parent.rename(file.parent.with_name("renamed"))


def link(file: pathlib.Path) -> None:
    file.unlink()
    file.symlink_to("/etc/passwd")


CHANGES = pytest.mark.parametrize(
    "change",
    [
        rewrite_with_its_times,
        replace,
        add_beside,
        make_executable,
        rename,
        rename_folder,
        link,
        pathlib.Path.unlink,
    ],
    ids=lambda change: change.__name__,
)


@CHANGES
def test_whatever_changes_in_a_folder_is_seen_without_reading_it(
    site: Site, change: Callable[[pathlib.Path], None]
) -> None:
    before = marks.of(site.scripts())
    assert before is not None
    assert marks.of(site.scripts()) == before
    change(site.scripts() / "lib/part.py")
    assert marks.of(site.scripts()) != before


def test_a_folder_that_was_exchanged_as_a_whole_is_seen(site: Site) -> None:
    before = marks.of(site.scripts())
    site.scripts().rename(site.scripts().with_name("aside"))
    site.install(files=FILES)
    assert marks.of(site.scripts()) != before


def test_what_running_the_code_in_place_leaves_behind_is_no_change(site: Site) -> None:
    cache = site.scripts() / "lib/__pycache__"
    cache.mkdir()
    before = marks.of(site.scripts())
    (cache / "part.pyc").touch()
    assert marks.of(site.scripts()) == before


def test_a_folder_that_is_not_there_has_no_mark(site: Site) -> None:
    assert marks.of(site.scripts("absent")) is None


def test_what_changed_a_moment_ago_or_in_the_future_is_not_settled(site: Site) -> None:
    mark = marks.of(site.scripts())
    assert mark is not None
    changed_at = datetime.datetime.fromtimestamp(mark.changed_at, datetime.UTC)
    settled = {
        seconds: mark.is_settled(changed_at + datetime.timedelta(seconds=seconds))
        for seconds in (-3600, 0, 59, 61)
    }
    assert settled == {-3600: False, 0: False, 59: False, 61: True}


def test_a_folder_without_a_change_is_not_read_again(
    site: Site, hashed: list[pathlib.Path]
) -> None:
    methods = site.catalog()
    first = methods.load()
    hashed.clear()
    again = methods.load(skip_unchanged=True)
    assert hashed == []
    assert again.loaded == first.loaded
    assert (again.added, again.changed, again.removed, again.broken) == ((), (), (), ())


@CHANGES
def test_every_change_is_loaded_as_if_all_were_read(
    site: Site, change: Callable[[pathlib.Path], None]
) -> None:
    site.install("other")
    skipping, reading = site.catalog(), Site.catalog(site)
    skipping.load()
    change(site.scripts() / "lib/part.py")
    assert outcome(skipping.load(skip_unchanged=True)) == outcome(reading.load())
    assert outcome(skipping.load(skip_unchanged=True)) == outcome(reading.load())


def outcome(report: catalog.LoadReport) -> tuple[object, ...]:
    return ([(one.name, one.function_hash) for one in report.loaded], report.broken)


def test_a_change_within_one_tick_of_the_clock_is_found(
    site: Site, hashed: list[pathlib.Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    site.clock.moment = datetime.datetime.now(datetime.UTC)
    mark = marks.of(site.scripts())
    # As a file system does whose clock stands still: the second change looks like the first.
    monkeypatch.setattr(marks, "of", lambda _: mark)
    methods = site.catalog()
    methods.load()
    (site.scripts() / "main.py").write_text("print('later')\n")
    hashed.clear()
    assert methods.load(skip_unchanged=True).changed == ("hello",)
    assert site.scripts() in hashed


def test_once_settled_it_is_passed_over(site: Site, hashed: list[pathlib.Path]) -> None:
    site.clock.moment = datetime.datetime.now(datetime.UTC)
    methods = site.catalog()
    methods.load()
    methods.load(skip_unchanged=True)
    assert hashed.count(site.scripts()) == 2
    site.clock.advance(3600)
    for _ in range(3):
        methods.load(skip_unchanged=True)
    assert hashed.count(site.scripts()) == 3


def test_words_of_the_manifest_that_count_are_seen(site: Site) -> None:
    methods = site.catalog()
    methods.load()
    site.install(files=FILES, environment="another")
    assert methods.load(skip_unchanged=True).changed == ("hello",)


def test_a_snapshot_that_is_gone_is_made_anew(site: Site) -> None:
    methods = site.catalog()
    methods.load()
    directory = methods.current()["hello"].directory
    directory.rename(directory.with_name("aside"))
    assert methods.load(skip_unchanged=True).broken == ()
    assert (directory / "main.py").read_text() == methods_site.HELLO


def test_a_method_that_came_back_is_current_again(site: Site) -> None:
    methods = site.catalog()
    methods.load()
    aside = site.manifest_file("hello").with_suffix(".aside")
    site.manifest_file("hello").rename(aside)
    assert methods.load(skip_unchanged=True).removed == ("hello",)
    aside.rename(site.manifest_file("hello"))
    assert methods.load(skip_unchanged=True).added == ("hello",)
