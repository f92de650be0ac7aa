"""Methods on a disk that does not answer: what cannot be read now is not gone, nor broken."""

import errno
import os
import pathlib
from collections.abc import Callable, Iterator

import pytest

from dshpc_server import errors
from dshpc_server.methods import errors as method_errors
from support import methods_site

Site = methods_site.Site
SILENT = [errno.EIO, errno.EACCES, errno.ESTALE, errno.ETIMEDOUT]
CALLS = ("stat", "lstat", "open", "listdir", "scandir")


class Silence:
    """What is below some paths cannot be asked about."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.number = errno.EIO
        self.below: list[pathlib.Path] = []
        for name in CALLS:
            monkeypatch.setattr(os, name, self._failing(getattr(os, name)))
        monkeypatch.setattr("io.open", self._failing(open))

    def _failing(self, call: Callable[..., object]) -> Callable[..., object]:
        def ask(path: object, *args: object, **options: object) -> object:
            text = os.fsdecode(path) if isinstance(path, bytes) else str(path)
            if any(text.startswith(str(below)) for below in self.below):
                raise OSError(self.number, os.strerror(self.number), text)
            return call(path, *args, **options)

        return ask


@pytest.fixture
def silence(monkeypatch: pytest.MonkeyPatch) -> Iterator[Silence]:
    with monkeypatch.context() as patched:
        yield Silence(patched)


@pytest.mark.parametrize("number", SILENT, ids=errno.errorcode.get)
@pytest.mark.parametrize("part", ["versions", "trees"])
def test_a_version_that_the_disk_does_not_tell_of_is_not_unknown(
    site: Site, silence: Silence, part: str, number: int
) -> None:
    theirs, ours = site.catalog(), site.catalog()
    ours.load()
    site.install()
    theirs.load()
    function_hash = theirs.current()["hello"].function_hash
    silence.number, silence.below = number, [site.snapshots_dir / part]
    with pytest.raises(errors.NoAnswerError) as raised:
        ours.find("hello", function_hash)
    assert str(site.snapshots_dir) not in str(raised.value)
    silence.below = []
    assert ours.find("hello", function_hash) is not None
    assert ours.find("hello", "0" * 64) is None


def test_where_all_versions_are_gone_their_disk_is_away(site: Site) -> None:
    site.install()
    methods = site.catalog()
    methods.load()
    site.snapshots_dir.rename(site.snapshots_dir.with_name("elsewhere"))
    with pytest.raises(errors.NoAnswerError):
        methods.find("hello", "0" * 64)


@pytest.mark.parametrize("number", SILENT, ids=errno.errorcode.get)
@pytest.mark.parametrize("part", ["commands/hello.json", "scripts/hello"])
def test_a_method_that_cannot_be_read_again_stays_what_it_was(
    site: Site, silence: Silence, part: str, number: int
) -> None:
    site.install()
    site.install("other")
    methods = site.catalog()
    methods.load()
    before = methods.current()
    silence.number, silence.below = number, [site.methods_dir / part]
    report = methods.load()
    assert methods.current() == before
    assert [each.file.name for each in report.broken] == ["hello.json"]
    assert os.strerror(number) in report.broken[0].reason
    silence.below = []
    assert methods.load().broken == ()
    assert methods.current() == before


def test_a_manifest_that_is_gone_or_wrong_is_no_method_any_more(site: Site) -> None:
    site.install("gone")
    site.install("wrong")
    methods = site.catalog()
    methods.load()
    site.manifest_file("gone").unlink()
    site.manifest_file("wrong").write_text("{")
    methods.load()
    assert methods.current() == {}


@pytest.mark.parametrize("part", ["versions/hello/", "trees/"])
def test_a_version_that_could_not_be_read_at_a_start_is_there_with_the_next_load(
    site: Site, silence: Silence, part: str
) -> None:
    site.install()
    first = site.catalog()
    first.load()
    version = first.current()["hello"]
    site.manifest_file("hello").unlink()
    (path,) = (site.snapshots_dir / part).iterdir()
    silence.below = [path]
    started = site.catalog()
    assert len(started.load().broken) == 1
    assert started.versions("hello") == ()
    silence.below = []
    assert started.load().broken == ()
    assert started.versions("hello") == (version,)


def test_records_that_cannot_be_listed_end_the_load_and_nothing_else(
    site: Site, silence: Silence
) -> None:
    site.install()
    methods = site.catalog()
    methods.load()
    before = methods.current()
    silence.below = [site.snapshots_dir / "versions"]
    with pytest.raises(method_errors.MethodsDirError, match="Input/output"):
        methods.load()
    assert methods.current() == before
