"""A check over a disk that does not answer: what it hides is told as such, and left alone."""

import contextlib
import errno
import os
import pathlib
from collections.abc import Callable

import pytest

from dshpc_server.checking import contents, folders, looks, repair
from dshpc_server.checking.findings import Finding
from support import checked_damage, checked_site, site
from support.checked_site import Site

LONG_HASH = site.hash_of(checked_site.LONG_OUTPUT)
CALLS = ("stat", "lstat", "open", "listdir", "scandir")


class Silence:
    """What is below a path cannot be asked about; content that is open there cannot be read."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, below: pathlib.Path) -> None:
        self._below = str(below)
        for name in CALLS:
            monkeypatch.setattr(os, name, self._failing(getattr(os, name)))

    def _failing(self, call: Callable[..., object]) -> Callable[..., object]:
        def ask(path: object, *args: object, **options: object) -> object:
            if str(path).startswith(self._below):
                raise OSError(errno.EIO, os.strerror(errno.EIO), path)
            return call(path, *args, **options)

        return ask


def repaired(made: Site) -> list[tuple[Finding, repair.Outcome]]:
    with contextlib.closing(made.open()) as store:
        repairing = repair.Repair(
            store,
            made.data_dir,
            without_output=checked_site.ENCODER.without_output,
            lives=lambda _: False,
        )
        found = [(finding, repairing.repair(finding)) for finding in made.check(store).run()]
        store.leave()
    return [(each, outcome) for each, outcome in found if each.rule.name != "owner_lives"]


def everything(made: Site) -> dict[str, bytes | None]:
    """What lies in the data folder, but for the database."""
    return {
        str(path.relative_to(made.data_dir)): path.read_bytes() if path.is_file() else None
        for path in made.data_dir.rglob("*")
        if not path.name.startswith("dshpc.sqlite")
    }


@pytest.mark.parametrize(
    ("below", "told"),
    [
        (f"files/{LONG_HASH[:2]}", {f"file {LONG_HASH}", f"path files/{LONG_HASH[:2]}/"}),
        (
            f"files/{LONG_HASH[:2]}/{LONG_HASH[2:4]}/{LONG_HASH}",
            {f"file {LONG_HASH}", f"path files/{LONG_HASH[:2]}/{LONG_HASH[2:4]}/{LONG_HASH}"},
        ),
        ("files/incoming", {"part uploads"}),
        ("attempts", {"job {running} attempt 1", "part attemptfolders"}),
        ("methods/trees", {"method echo version {version}"}),
        ("methods/versions", {"job {running} attempt 1", "job {pending} attempt 1"}),
    ],
)
def test_what_cannot_be_read_is_told_as_such_and_no_repair_touches_it(
    made: Site, monkeypatch: pytest.MonkeyPatch, below: str, told: set[str]
) -> None:
    names = {**made.job_ids(), "version": made.function_hash()}
    told = {each.format(**names) for each in told}
    before = everything(made)
    with monkeypatch.context() as patched:
        Silence(patched, made.data_dir / below)
        found = repaired(made)
    assert {each.rule for each, _ in found} == {looks.SILENT}
    which = {
        " ".join(map(str, (word for pair in each.which for word in pair))) for each, _ in found
    }
    assert told <= which
    assert {outcome.what for _, outcome in found} == {"this cannot be repaired safely"}
    assert everything(made) == before
    assert made.broken() <= {"owner_lives"}


def test_content_that_the_disk_does_not_give_back_is_not_damaged(
    made: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = made.content(checked_site.LONG_OUTPUT).stat().st_ino
    read = os.read

    def failing(descriptor: int, size: int) -> bytes:
        if os.fstat(descriptor).st_ino == bad:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return read(descriptor, size)

    with monkeypatch.context() as patched:
        patched.setattr(os, "read", failing)
        found = repaired(made)
    assert [each.rule for each, _ in found] == [looks.SILENT]
    assert not any(outcome.is_repaired for _, outcome in found)
    assert made.content(checked_site.LONG_OUTPUT).exists()
    assert not (made.data_dir / repair.QUARANTINE).exists()


def test_where_all_content_is_gone_the_disk_is_away_and_nothing_is_forgotten(made: Site) -> None:
    (made.data_dir / "files").rename(made.data_dir / "elsewhere")
    (made.data_dir / "files").mkdir()
    found = repaired(made)
    assert {each.rule for each, _ in found} == {looks.SILENT}
    (made.data_dir / "files").rmdir()
    (made.data_dir / "elsewhere").rename(made.data_dir / "files")
    assert made.broken() <= {"owner_lives"}


def test_what_is_there_again_when_it_is_to_be_forgotten_is_not(made: Site) -> None:
    checked_damage.lose_content(made)
    with contextlib.closing(made.open()) as store:
        (finding,) = [each for each in made.check(store).run() if each.rule == contents.THERE]
        repairing = repair.Repair(
            store,
            made.data_dir,
            without_output=checked_site.ENCODER.without_output,
            lives=lambda _: False,
        )
        made.files.put(checked_site.LONG_OUTPUT)
        outcome = repairing.repair(finding)
        store.leave()
    assert outcome == repair.Outcome(is_repaired=False, what="it is there again")
    assert made.broken() <= {"owner_lives"}


def test_a_folder_that_cannot_be_listed_hides_no_other(
    made: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = checked_damage.leave_a_folder(made)
    job_id = made.job_id("kept")
    with monkeypatch.context() as patched:
        Silence(patched, made.folder("kept").parent)
        found = made.found()
    told = {(each.rule.name, each.name) for each in found}
    assert (looks.SILENT.name, f"attempts/{job_id[:2]}/{job_id}") in told
    assert (folders.ATTEMPT.name, left) in told
