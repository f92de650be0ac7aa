"""Servers that share their snapshots: each can run what another has loaded, and none is in the way.

Two catalogs stand for two servers: what they share is the folder alone.
"""

import errno
import fcntl
import os
import pathlib
import subprocess
import sys
import threading

import pytest

from dshpc_server.methods import catalog, errors, records, tree, turns
from support import methods_site

Site = methods_site.Site
DEADLINE_SECONDS = 30.0
LOADING = """
import pathlib, sys
from dshpc_server import clock
from dshpc_server.methods import catalog
methods = catalog.Catalog(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), clock.SystemClock())
print("ready", flush=True)
sys.stdin.readline()
report = methods.load()
print(*[version.function_hash for version in report.loaded], len(report.broken), flush=True)
"""


def another_site(site: Site) -> Site:
    """A server with a methods folder of its own, and the same snapshots."""
    other = Site(site.methods_dir.parent / "other")
    other.snapshots_dir = site.snapshots_dir
    return other


def orders(site: Site) -> dict[str, int]:
    readable, _ = records.Records(site.snapshots_dir / "versions").read_new()
    return {record.function_hash: record.order for record in readable}


def test_two_processes_that_load_at_one_instant_both_have_every_method(site: Site) -> None:
    names = [f"method{number}" for number in range(8)]
    for name in names:
        site.install(name, {"main.py": f"print('{name}')\n", "part.py": "x = 1\n"})
    words = [sys.executable, "-c", LOADING, str(site.methods_dir), str(site.snapshots_dir)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    loading = [subprocess.Popen(words, text=True, **pipes) for _ in range(3)]  # type: ignore[call-overload] # pipes are what they are
    try:
        for process in loading:
            assert process.stdout.readline() == "ready\n"
        for process in loading:
            process.stdin.write("go\n")
            process.stdin.flush()
        told = [process.stdout.readline().split() for process in loading]
    finally:
        for process in loading:
            process.communicate()
    assert told[0] == told[1] == told[2]
    assert len(told[0]) == len(names) + 1
    assert told[0][-1] == "0"
    copies = {path.name for path in (site.snapshots_dir / "trees").iterdir()}
    assert copies == set(told[0][:-1])
    assert set(orders(site).values()) == {1}


def test_a_version_that_another_server_has_loaded_is_found_at_once(site: Site) -> None:
    here, there = site.catalog(), site.catalog()
    here.load()
    site.install()
    there.load()
    version = there.current()["hello"]

    assert here.version("hello", version.function_hash) is None
    assert here.find("hello", version.function_hash) == version
    assert here.version("hello", version.function_hash) == version
    assert here.find("hello", version.function_hash) is here.version("hello", version.function_hash)
    assert here.current() == {}


def test_what_another_server_has_loaded_is_a_version_after_the_next_load(site: Site) -> None:
    other = another_site(site)
    here, there = site.catalog(), other.catalog()
    here.load()
    other.install()
    there.load()
    version = there.current()["hello"]

    assert here.load().loaded == ()
    assert here.version("hello", version.function_hash) == version
    assert here.versions("hello") == (version,)
    assert here.current() == {}


@pytest.mark.parametrize("name", ["", ".", "..", "../versions/hello", "hello\0", "a/b", "other"])
def test_what_nobody_has_loaded_is_not_found(site: Site, name: str) -> None:
    site.install()
    methods = site.catalog()
    methods.load()
    function_hash = methods.current()["hello"].function_hash
    assert site.catalog().find(name, function_hash) is None
    assert site.catalog().find("hello", "0" * 64) is None
    assert site.catalog().find("hello", "../hello") is None


def test_a_version_whose_snapshot_is_damaged_is_not_found(site: Site) -> None:
    site.install()
    methods = site.catalog()
    methods.load()
    version = methods.current()["hello"]
    script = version.directory / "main.py"
    script.chmod(0o644)
    script.write_text("print('other')\n")
    assert site.catalog().find("hello", version.function_hash) is None


def test_the_order_of_versions_goes_on_whichever_server_loads(site: Site) -> None:
    here, there = site.catalog(), site.catalog()
    hashes = []
    for text, methods in (("1", here), ("2", there), ("3", here), ("4", there)):
        site.install(files={"main.py": text})
        methods.load()
        hashes.append(methods.current()["hello"].function_hash)
    assert orders(site) == {function_hash: n + 1 for n, function_hash in enumerate(hashes)}
    site.install(files={"main.py": "1"})
    for methods in (here, there):
        methods.load()
    assert orders(site)[hashes[0]] == 5
    for methods in (here, there):
        newest_first = [version.function_hash for version in methods.versions("hello")]
        assert newest_first == [hashes[0], *hashes[:0:-1]]


def test_servers_whose_folders_differ_do_not_outdo_each_other_with_every_load(site: Site) -> None:
    other = another_site(site)
    site.install(files={"main.py": "old"})
    other.install(files={"main.py": "new"})
    here, there = site.catalog(), other.catalog()
    here.load()
    there.load()
    before = orders(site)
    for _ in range(3):
        here.load()
        there.load()
    assert orders(site) == before
    assert here.current()["hello"].function_hash != there.current()["hello"].function_hash


def test_a_load_waits_for_the_one_of_another_server_and_leaves_what_that_is_copying(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.install()
    here, there = site.catalog(), site.catalog()
    copying, waiting = threading.Event(), threading.Event()
    copy = tree.copy

    def slowly(source: pathlib.Path, target: pathlib.Path) -> None:
        copy(source, target)
        copying.set()
        assert waiting.wait(DEADLINE_SECONDS)
        assert target.is_dir()

    flock = fcntl.flock

    def watched(descriptor: int, operation: int) -> None:
        try:
            flock(descriptor, operation)
        except BlockingIOError:
            waiting.set()
            raise

    monkeypatch.setattr(tree, "copy", slowly)
    monkeypatch.setattr(fcntl, "flock", watched)
    first = threading.Thread(target=here.load)
    first.start()
    assert copying.wait(DEADLINE_SECONDS)
    assert there.load().broken == ()
    first.join(DEADLINE_SECONDS)
    assert here.current() == there.current()
    assert set(here.current()) == {"hello"}


def test_a_server_that_hangs_while_it_loads_is_not_waited_for_for_ever(
    site: Site, tmp_path: pathlib.Path
) -> None:
    site.install()
    pauses: list[float] = []
    with (
        turns.turn(tmp_path / "shared"),
        pytest.raises(errors.MethodsDirError, match="another server"),
        turns.turn(tmp_path / "shared", pauses.append),
    ):
        pytest.fail("two have the turn")
    assert sum(pauses) == pytest.approx(turns.WAIT_SECONDS)
    with turns.turn(tmp_path / "shared"):
        pass


def test_a_disk_that_takes_nothing_any_more_leaves_the_methods_as_they_are(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.install()
    methods = site.catalog()
    methods.load()
    before = methods.current()
    site.install(files={"main.py": "print('newer')\n"})

    def fail(*_: object, **_options: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    with monkeypatch.context() as patched:
        patched.setattr(os, "mkdir", fail)
        report = methods.load()
    assert [each.reason for each in report.broken] == ["Read-only file system"]
    assert methods.current() == before
    assert methods.load().changed == ("hello",)


def test_snapshots_that_cannot_be_written_to_at_all_are_told_as_such(
    tmp_path: pathlib.Path, site: Site
) -> None:
    (tmp_path / "file").write_bytes(b"")
    methods = catalog.Catalog(site.methods_dir, tmp_path / "file" / "snapshots", site.clock)
    with pytest.raises(errors.MethodsDirError, match="Not a directory"):
        methods.load()
