"""The folders of attempts: only what has ended in the store is ever touched."""

import contextlib
import datetime
import os
import pathlib
from collections.abc import AsyncIterator, Iterator

import pytest

from dshpc_server.batches import attempt_folders
from dshpc_server.domain.job import AttemptKey
from dshpc_server.store import committer
from dshpc_server.store.sql.store import SqlStore
from support import batches_store
from support import store_values as v

LONG_AGO = v.NOON - datetime.timedelta(days=30)


class Parts:
    """Attempts in a store, and their folders."""

    def __init__(self, root: pathlib.Path, store: SqlStore) -> None:
        self.root = root
        self.store = store

    def completed(self, *names: str) -> list[AttemptKey]:
        """Jobs that have ended, at `v.later(8)`."""
        return [self._made(name, ended=True) for name in names]

    def active(self, name: str) -> AttemptKey:
        return self._made(name, ended=False)

    def folder(self, key: AttemptKey, *, touched: datetime.datetime = LONG_AGO) -> pathlib.Path:
        made = self.root / key.job_id[:2] / key.job_id / str(key.number)
        made.mkdir(parents=True)
        (made / "stdout").write_text("output")
        (made / "workspace" / "deep").mkdir(parents=True)
        os.utime(made, (touched.timestamp(), touched.timestamp()))
        return made

    def _made(self, name: str, *, ended: bool) -> AttemptKey:
        v.accept(self.store, v.batch(name, name))
        if ended:
            v.end(self.store, name, at=v.later(8))
        else:
            v.claim_all(self.store)
        return AttemptKey(job_id=v.sha(name), number=1)


@pytest.fixture
def parts(tmp_path: pathlib.Path) -> Iterator[Parts]:
    with contextlib.closing(batches_store.opened(tmp_path / "store.db")) as store:
        yield Parts(tmp_path / "attempts", store)


@pytest.fixture
async def folders(parts: Parts) -> AsyncIterator[attempt_folders.AttemptFolders]:
    async with committer.Committer(parts.store, on_changes=lambda _: None) as writing:
        yield attempt_folders.AttemptFolders(parts.root, writing)


async def test_without_a_folder_there_is_nothing_to_do(
    folders: attempt_folders.AttemptFolders,
) -> None:
    await folders.clear_workspaces()
    assert await folders.clear_old(v.later(100), most=10) == 0


async def test_a_workspace_goes_when_its_attempt_has_ended(
    folders: attempt_folders.AttemptFolders, parts: Parts
) -> None:
    (ended,) = parts.completed("ended")
    active = parts.active("active")
    unknown = AttemptKey(job_id=v.sha("unknown"), number=1)
    later = AttemptKey(job_id=ended.job_id, number=2)
    kept = [parts.folder(key) for key in (active, unknown, later)]
    cleared = parts.folder(ended)
    await folders.clear_workspaces()
    assert not (cleared / "workspace").exists()
    assert (cleared / "stdout").read_text() == "output"
    assert all((folder / "workspace" / "deep").is_dir() for folder in kept)


async def test_a_folder_goes_when_its_attempt_ended_long_enough_ago(
    folders: attempt_folders.AttemptFolders, parts: Parts
) -> None:
    (ended,) = parts.completed("ended")
    active = parts.active("active")
    unknown = AttemptKey(job_id=v.sha("unknown"), number=1)
    kept = [parts.folder(key) for key in (active, unknown)]
    gone = parts.folder(ended)
    assert await folders.clear_old(v.later(8), most=10) == 0
    assert gone.exists()
    assert await folders.clear_old(v.later(8.5), most=10) == 1
    assert not gone.parent.exists()
    assert all(folder.exists() for folder in kept)


async def test_the_folder_of_a_job_stays_while_something_is_in_it(
    folders: attempt_folders.AttemptFolders, parts: Parts
) -> None:
    (ended,) = parts.completed("ended")
    gone = parts.folder(ended)
    beside = parts.folder(AttemptKey(job_id=ended.job_id, number=2))
    assert await folders.clear_old(v.later(100), most=10) == 1
    assert not gone.exists()
    assert beside.exists()


async def test_a_folder_that_something_was_done_in_since_is_not_looked_at(
    folders: attempt_folders.AttemptFolders, parts: Parts
) -> None:
    (ended,) = parts.completed("ended")
    folder = parts.folder(ended, touched=v.later(1000))
    assert await folders.clear_old(v.later(100), most=10) == 0
    assert folder.exists()


async def test_many_folders_go_a_part_at_a_time(
    folders: attempt_folders.AttemptFolders, parts: Parts
) -> None:
    made = [parts.folder(key) for key in parts.completed(*"abcdefgh")]
    assert await folders.clear_old(v.later(100), most=3) == 3
    assert sum(folder.exists() for folder in made) == 5
    assert await folders.clear_old(v.later(100), most=3) == 3
    assert await folders.clear_old(v.later(100), most=3) == 2
    assert not any(folder.exists() for folder in made)
    again = [parts.folder(key) for key in parts.completed("i", "j")]
    assert await folders.clear_old(v.later(100), most=3) == 2
    assert not any(folder.exists() for folder in again)


async def test_what_is_no_attempts_folder_is_left_alone(
    folders: attempt_folders.AttemptFolders, parts: Parts
) -> None:
    (ended,) = parts.completed("ended")
    parts.root.mkdir()
    strange = [
        parts.root / "file",
        parts.root / "ab" / "no hash" / "1",
        parts.root / ended.job_id[:2] / ended.job_id / "one",
    ]
    strange[0].touch()
    for path in strange[1:]:
        path.mkdir(parents=True)
    await folders.clear_workspaces()
    assert await folders.clear_old(v.later(100), most=10) == 0
    assert all(path.exists() for path in strange)


async def test_what_a_link_leads_to_is_not_touched(
    folders: attempt_folders.AttemptFolders, parts: Parts, tmp_path: pathlib.Path
) -> None:
    (ended,) = parts.completed("ended")
    folder = parts.folder(ended)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").touch()
    (folder / "workspace" / "deep").rmdir()
    (folder / "workspace").rmdir()
    (folder / "workspace").symlink_to(outside)
    (folder / "link").symlink_to(outside)
    await folders.clear_workspaces()
    assert {each.name for each in folder.iterdir()} == {"link", "stdout"}
    os.utime(folder, (LONG_AGO.timestamp(), LONG_AGO.timestamp()))
    assert await folders.clear_old(v.later(100), most=10) == 1
    assert (outside / "precious").exists()
