"""The catalog: what a load finds, and what of it lasts."""

import json
import pathlib
import stat
import threading

import pytest

from dshpc_server.methods import catalog, errors, method, tree
from support import methods_site

Site = methods_site.Site


def test_an_installed_method_is_found_and_runs_from_its_snapshot(site: Site) -> None:
    site.install(files={"main.py": methods_site.HELLO, "lib/part.py": "x = 1\n"})
    methods = site.catalog()

    report = methods.load()

    version = methods.current()["hello"]
    assert report.loaded == (version,)
    assert (report.added, report.removed, report.broken) == (("hello",), (), ())
    assert version.directory.is_relative_to(site.snapshots_dir)
    assert (version.directory / version.script_path).read_text() == methods_site.HELLO
    assert (version.directory / "lib/part.py").read_text() == "x = 1\n"
    assert version.function_hash == tree.function_hash(version.directory, version)
    assert version.created_at == methods_site.FIRST_MOMENT
    assert methods.version("hello", version.function_hash) == version


def test_a_snapshot_is_read_only(site: Site) -> None:
    site.install()
    methods = site.catalog()
    methods.load()
    directory = methods.current()["hello"].directory
    assert stat.S_IMODE(directory.stat().st_mode) == 0o555
    assert stat.S_IMODE((directory / "main.py").stat().st_mode) == 0o444


def test_a_methods_folder_that_is_missing_is_told_and_changes_nothing(site: Site) -> None:
    site.install()
    methods = site.catalog()
    methods.load()
    site.methods_dir.rename(site.methods_dir.with_name("elsewhere"))

    with pytest.raises(errors.MethodsDirError, match="No such file or directory"):
        methods.load()

    assert set(methods.current()) == {"hello"}


def test_an_empty_methods_folder_holds_no_methods(tmp_path: pathlib.Path) -> None:
    (tmp_path / "empty").mkdir()
    clock = methods_site.HandClock()
    methods = catalog.Catalog(tmp_path / "empty", tmp_path / "snapshots", clock)
    assert methods.load().loaded == ()
    assert methods.current() == {}
    assert methods.versions("hello") == ()
    assert methods.version("hello", "0" * 64) is None


def test_what_is_broken_is_reported_and_the_others_load(site: Site) -> None:
    site.install("good")
    site.install("unscripted", files={"other.py": ""})
    site.install("linked")
    (site.scripts("linked") / "link").symlink_to("/etc/passwd")
    site.manifest_file("folderless").write_text(json.dumps(methods_site.document("folderless")))
    site.manifest_file("unreadable").write_text("{")
    site.manifest_file("incomplete").write_text("{}")

    report = site.catalog().load()

    assert [version.name for version in report.loaded] == ["good"]
    reasons = methods_site.broken(report)
    assert set(reasons) == {
        "unscripted.json",
        "linked.json",
        "folderless.json",
        "unreadable.json",
        "incomplete.json",
    }
    assert reasons["unscripted.json"] == "script 'main.py' is missing"
    assert reasons["linked.json"] == "'link' is a symbolic link"
    assert "is missing" in reasons["folderless.json"]
    assert "is not JSON" in reasons["unreadable.json"]
    assert reasons["incomplete.json"] == "name is missing"


def test_a_file_that_may_not_be_read_breaks_its_method_alone(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.install("good", {"main.py": "1"})
    site.install("secret", {"main.py": "2"})
    function_hash = tree.function_hash

    def refuse(folder: pathlib.Path, manifest: method.Manifest) -> str:
        if folder.name == "secret":
            raise PermissionError(13, "Permission denied", "main.py")
        return function_hash(folder, manifest)

    monkeypatch.setattr(tree, "function_hash", refuse)
    report = site.catalog().load()

    assert [version.name for version in report.loaded] == ["good"]
    assert methods_site.broken(report) == {"secret.json": "Permission denied: main.py"}


def test_two_manifests_of_one_name_are_both_left_out(site: Site) -> None:
    site.install()
    site.manifest_file("copy").write_text(site.manifest_file("hello").read_text())
    report = site.catalog().load()
    assert report.loaded == ()
    expected = "name 'hello' is in several manifests: copy.json, hello.json"
    assert methods_site.broken(report) == {"hello.json": expected, "copy.json": expected}


def test_the_name_in_the_manifest_counts_not_the_files(site: Site) -> None:
    site.install("hello")
    site.manifest_file("hello").rename(site.manifest_file("another"))
    methods = site.catalog()
    methods.load()
    assert set(methods.current()) == {"hello"}


def test_other_files_beside_the_manifests_are_passed_over(site: Site) -> None:
    for name in ("README.md", ".hello.json", "hello.json~"):
        (site.methods_dir / "commands" / name).write_text("no manifest")
    assert site.catalog().load().broken == ()


def test_a_change_makes_a_new_version_and_keeps_the_old_one(site: Site) -> None:
    site.install()
    methods = site.catalog()
    methods.load()
    old = methods.current()["hello"]
    site.install(files={"main.py": "print('new')\n"})
    site.clock.advance(60)

    report = methods.load()

    new = methods.current()["hello"]
    assert (report.added, report.changed, report.removed) == ((), ("hello",), ())
    assert new.function_hash != old.function_hash
    assert new.created_at > old.created_at
    assert methods.versions("hello") == (new, old)
    assert methods.version("hello", old.function_hash) == old
    assert (old.directory / "main.py").read_text() == methods_site.HELLO


def test_loading_again_without_a_change_changes_nothing(site: Site) -> None:
    site.install()
    methods = site.catalog()
    first = methods.load()
    site.clock.advance(60)
    written = {path: path.stat() for path in site.snapshots_dir.rglob("*")}

    second = methods.load()

    assert second.loaded == first.loaded
    assert (second.added, second.changed, second.removed) == ((), (), ())
    assert {path: path.stat().st_mtime_ns for path in site.snapshots_dir.rglob("*")} == {
        path: status.st_mtime_ns for path, status in written.items()
    }


def test_loading_an_older_content_again_makes_it_the_newest_also_when_the_clock_went_back(
    site: Site,
) -> None:
    methods = site.catalog()
    for text in ("1", "2", "1"):
        site.install(files={"main.py": text})
        methods.load()
        site.clock.advance(-60)

    texts = [(version.directory / "main.py").read_text() for version in methods.versions("hello")]
    assert texts == ["1", "2"]
    assert methods.current()["hello"] == methods.versions("hello")[0]
    assert methods.versions("hello")[0].created_at == methods_site.FIRST_MOMENT


def test_versions_and_their_order_survive_a_restart(site: Site) -> None:
    methods = site.catalog()
    for text in ("1", "2", "3", "1"):
        site.install(files={"main.py": text})
        methods.load()
        site.clock.advance(60)

    restarted = site.catalog()
    report = restarted.load()

    assert report.added == ("hello",)
    assert restarted.versions("hello") == methods.versions("hello")
    assert restarted.current() == methods.current()


def test_a_removed_method_is_not_current_and_its_versions_stay(site: Site) -> None:
    site.install()
    methods = site.catalog()
    methods.load()
    old = methods.current()["hello"]
    site.manifest_file("hello").unlink()

    assert methods.load().removed == ("hello",)

    for readable in (methods, methods_site.loaded(site)):
        assert "hello" not in readable.current()
        assert readable.versions("hello") == (old,)
        assert readable.version("hello", old.function_hash) == old


def test_a_mapping_that_was_taken_does_not_change_with_the_next_load(site: Site) -> None:
    site.install()
    methods = site.catalog()
    methods.load()
    taken = methods.current()
    site.manifest_file("hello").unlink()
    methods.load()
    assert set(taken) == {"hello"}
    with pytest.raises(TypeError):
        taken["other"] = taken["hello"]  # type: ignore[index]  # what is tried here


def test_two_names_over_the_same_code_keep_their_own_manifests(site: Site) -> None:
    site.install("one", description="the first", inputs=[])
    site.install("two", description="the second")
    methods = methods_site.loaded(site)
    one, two = methods.current()["one"], methods.current()["two"]
    assert one.function_hash == two.function_hash
    assert (one.description, one.inputs) == ("the first", ())
    assert (two.description, two.inputs) == ("the second", ("input",))
    assert methods.versions("one") == (one,)


def test_other_words_in_the_manifest_are_taken_up_without_a_new_version(site: Site) -> None:
    site.install(description="before")
    methods = site.catalog()
    methods.load()
    site.install(description="after")
    assert methods.load().changed == ()
    assert [version.description for version in methods.versions("hello")] == ["after"]
    assert methods_site.loaded(site).current()["hello"].description == "after"


def _text(version: method.MethodVersion) -> str:
    return (version.directory / "main.py").read_text()


def test_readers_see_one_load_while_another_goes_on(site: Site) -> None:
    texts = ("1", "2")
    methods = site.catalog()
    site.install("one", {"main.py": "1"})
    site.install("two", {"main.py": "1"})
    methods.load()
    seen: list[bool] = []
    stop = threading.Event()

    def look() -> None:
        while not stop.is_set():
            current = methods.current()
            seen.append(_text(current["one"]) == _text(current["two"]))

    reader = threading.Thread(target=look)
    reader.start()
    try:
        for text in texts * 5:
            site.install("one", {"main.py": text})
            site.install("two", {"main.py": text})
            methods.load()
    finally:
        stop.set()
        reader.join()
    assert seen
    assert all(seen)


def test_two_loads_at_one_time_wait_for_each_other(site: Site) -> None:
    site.install()
    methods = site.catalog()
    reports: list[catalog.LoadReport] = []
    threads = [threading.Thread(target=lambda: reports.append(methods.load())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(report.added for report in reports) == [(), ("hello",)]
