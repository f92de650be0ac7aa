"""A store and a data folder get one id, whatever is cut off and whoever starts at that moment."""

import concurrent.futures
import errno
import os
import pathlib
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest

from dshpc_server import deployment, errors
from dshpc_server.domain.deployment import Decision
from dshpc_server.store.sql.store import SqlStore
from support import batches_store, store_servers
from support.deployment_fixtures import data_dir, store, written

__all__ = ["data_dir", "store"]

ONE, OTHER = "1" * 32, "2" * 32


class Cut:
    """Lets the n-th call fail of those that a start makes; as if the power had gone there."""

    def __init__(self, patch: pytest.MonkeyPatch, store: SqlStore, number: int) -> None:
        self.is_made = False
        self._left = number
        self._is_cut = False
        for module, name in ((os, "fsync"), (os, "link"), (pathlib.Path, "unlink")):
            patch.setattr(module, name, self._cutting(getattr(module, name)))
        keep = self._cutting(store.keep_deployment_id)
        # What is committed, and not answered.
        patch.setattr(store, "keep_deployment_id", self._cutting(keep, is_after=True))

    def _cutting(
        self, real: Callable[..., object], *, is_after: bool = False
    ) -> Callable[..., object]:
        def call(*arguments: object, **named: object) -> object:
            answer = real(*arguments, **named) if is_after and not self._is_cut else None
            self._left -= 1
            if self._left < 0:  # nothing that comes after it is done
                self.is_made = self._is_cut = True
                raise OSError(errno.EIO, "cut")
            return answer if is_after else real(*arguments, **named)

        return call


def test_a_start_that_is_cut_off_anywhere_is_gone_on_with_by_the_next(
    tmp_path: pathlib.Path,
) -> None:
    cuts = 0
    for number in range(99):
        folder = tmp_path / f"data-{number}"
        folder.mkdir()
        with closing(batches_store.opened(tmp_path / f"{number}.db")) as store:
            with pytest.MonkeyPatch.context() as patch:
                cut = Cut(patch, store, number)
                try:
                    deployment.settle(store, folder)
                except OSError:
                    cuts += 1
            kept = store.find_deployment_id()
            made = deployment.settle(store, folder)
            assert kept in (None, made)
            assert written(folder)["deployment_id"] == f"{made}\n"
            deployment.settle(store, folder)
        if not cut.is_made:
            break
    assert cuts >= 7
    assert not cut.is_made


def test_an_id_of_which_it_is_not_known_if_it_is_kept_is_found_again(
    store: SqlStore, data_dir: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose(deployment_id: str) -> str:
        SqlStore.keep_deployment_id(store, deployment_id)
        raise errors.UnavailableError("the store cannot answer now", retry_after_seconds=1)

    with monkeypatch.context() as patch:
        patch.setattr(store, "keep_deployment_id", lose)
        with pytest.raises(errors.UnavailableError):
            deployment.settle(store, data_dir, lambda: ONE)
    deployment.require(store, data_dir)
    assert deployment.settle(store, data_dir, lambda: OTHER) == ONE
    assert written(data_dir) == {"deployment_id": f"{ONE}\n"}


def test_where_files_cannot_be_linked_a_folder_gets_its_id_all_the_same(
    store: SqlStore, data_dir: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    made = deployment.settle(store, data_dir)
    assert written(data_dir) == {"deployment_id": f"{made}\n"}


def settled(
    stores: list[SqlStore], folders: list[pathlib.Path]
) -> list[str | deployment.MismatchError]:
    """Start a server on each of these pairs at one moment."""

    def settle(store: SqlStore, folder: pathlib.Path) -> str | deployment.MismatchError:
        try:
            return deployment.settle(store, folder)
        except deployment.MismatchError as error:
            return error

    with concurrent.futures.ThreadPoolExecutor(len(stores)) as threads:
        return list(threads.map(settle, stores, folders))


def test_servers_that_start_at_one_moment_agree(store: SqlStore, data_dir: pathlib.Path) -> None:
    servers = [store_servers.beside(store) for _ in range(4)]
    (made,) = set(settled(servers, [data_dir] * 4))
    assert made == store.find_deployment_id()
    assert written(data_dir) == {"deployment_id": f"{made}\n"}


def test_of_two_folders_at_one_moment_one_becomes_the_stores(
    store: SqlStore, tmp_path: pathlib.Path
) -> None:
    folders = [tmp_path / name for name in "ab"]
    for folder in folders:
        folder.mkdir()
    ends = settled([store_servers.beside(store) for _ in folders], folders)
    (lost,) = (end for end in ends if isinstance(end, deployment.MismatchError))
    assert lost.decision is Decision.OTHER_FOLDER
    other = folders[ends.index(lost)]
    assert list(other.iterdir()) == []


def test_of_two_stores_at_one_moment_one_becomes_the_folders(
    store: SqlStore, data_dir: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    with closing(batches_store.opened(tmp_path / "other.db")) as other:
        ends = settled([store, other], [data_dir] * 2)
    (lost,) = (end for end in ends if isinstance(end, deployment.MismatchError))
    (won,) = (end for end in ends if end is not lost)
    assert lost.decision in (Decision.DIFFERENT, Decision.OTHER_STORE)
    assert deployment.folder_has(data_dir) == won


def test_a_start_that_ends_between_two_looks_is_seen_as_it_ended(
    store: SqlStore, data_dir: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = store_servers.beside(store)
    real = SqlStore.find_deployment_id
    answers: list[str | None] = []

    def find() -> str | None:
        answers.append(real(store))
        if len(answers) == 1:  # it was asked when there was none
            deployment.settle(other, data_dir)
        return answers[-1]

    monkeypatch.setattr(store, "find_deployment_id", find)
    standing = deployment.look(store, data_dir)
    assert answers[0] is None
    assert standing.store_id == standing.folder_id == real(store)


def test_another_server_that_gives_the_folder_its_id_first_is_no_fault(
    store: SqlStore, data_dir: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = store_servers.beside(store)
    real = os.link

    def link(*arguments: Any, **named: Any) -> None:  # noqa: ANN401 (those of os.link)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "link", real)
            deployment.settle(other, data_dir)  # and clears away what was to be linked
        real(*arguments, **named)

    monkeypatch.setattr(os, "link", link)
    made = deployment.settle(store, data_dir)
    assert written(data_dir) == {"deployment_id": f"{made}\n"}
