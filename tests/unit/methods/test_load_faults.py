"""The n-th call to the disk fails while a method is loaded, for every n.

Nothing half made is ever loaded, and the next load works and is whole.
"""

import errno
import os
import pathlib
from collections.abc import Callable

import pytest

from dshpc_server.methods import catalog, tree
from support import methods_site

CALLS = ("fsync", "rename", "mkdir", "fchmod", "chmod")
FILES = {"main.py": methods_site.HELLO, "lib/part.py": "x = 1\n"}


class Disk:
    """Counts calls to the disk and fails one of them."""

    def __init__(self, failing: int) -> None:
        self._failing = failing
        self.calls = 0
        self.failed = ""

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in CALLS:
            monkeypatch.setattr(os, name, self._counting(name, getattr(os, name)))

    def _counting(self, name: str, call: Callable[..., object]) -> Callable[..., object]:
        def counted(*args: object, **options: object) -> object:
            self.calls += 1
            if self.calls == self._failing:
                self.failed = name
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return call(*args, **options)

        return counted


def test_whichever_call_fails_the_method_is_left_out_and_the_next_load_is_whole(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing = 0
    while True:
        failing += 1
        site = methods_site.Site(tmp_path / f"{failing}")
        site.install(files=FILES)
        site.snapshots_dir.mkdir()
        methods = site.catalog()
        disk = Disk(failing)
        with monkeypatch.context() as patched:
            disk.install(patched)
            report = methods.load()
        if not disk.failed:
            break

        if report.loaded:
            # A folder that is there need not be made.
            assert disk.failed == "mkdir"
        else:
            assert [each.reason for each in report.broken] == ["Input/output error"]
            assert methods.current() == {}
            assert methods.versions("hello") == ()
        assert methods.load().broken == ()
        assert_whole(site, methods)
        restarted = site.catalog()
        assert restarted.load().broken == ()
        assert restarted.versions("hello") == methods.versions("hello")

    # Two files and two folders, the folder of folders, the record: each made, renamed, fsynced.
    assert failing > 15
    assert_whole(site, methods)


def assert_whole(site: methods_site.Site, methods: catalog.Catalog) -> None:
    version = methods.current()["hello"]
    assert tree.function_hash(version.directory, version) == version.function_hash
    assert [path.name for path in version.directory.parent.iterdir()] == [version.function_hash]
    assert [path.suffix for path in (site.snapshots_dir / "versions/hello").iterdir()] == [".json"]
