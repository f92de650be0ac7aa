"""A store and a data folder get one id, and what belongs elsewhere is refused, with what to do."""

import pathlib
from collections.abc import Iterator
from contextlib import closing

import pytest

from dshpc_server import deployment
from dshpc_server.domain.deployment import Decision
from dshpc_server.store import port
from dshpc_server.store.sql.store import SqlStore
from support import batches_store
from support import store_values as v
from support.deployment_fixtures import data_dir, store, written

__all__ = ["data_dir", "store"]

ONE, OTHER = "1" * 32, "2" * 32


@pytest.fixture
def store_inside(data_dir: pathlib.Path) -> Iterator[SqlStore]:
    """A new store in the data folder."""
    with closing(batches_store.opened(data_dir / "dshpc.sqlite")) as opened:
        yield opened


def use(data_dir: pathlib.Path) -> None:
    """Make what every server makes that uses a folder."""
    (data_dir / "files").mkdir()


def fill(store: port.Store) -> None:
    """Store something."""
    v.accept(store, v.batch("b", "job"))


def refused(store: port.Store, data_dir: pathlib.Path) -> tuple[Decision, str]:
    """Why the two are refused; both are as they were."""
    before = store.find_deployment_id(), written(data_dir)
    with pytest.raises(deployment.MismatchError) as settling:
        deployment.settle(store, data_dir)
    with pytest.raises(deployment.MismatchError) as requiring:
        deployment.require(store, data_dir)
    assert str(requiring.value) == str(settling.value)
    assert (store.find_deployment_id(), written(data_dir)) == before
    return settling.value.decision, str(settling.value)


def test_two_that_are_new_get_one_id_that_stays(store: SqlStore, data_dir: pathlib.Path) -> None:
    assert deployment.folder_has(data_dir) is None
    made = deployment.settle(store, data_dir)
    assert store.find_deployment_id() == deployment.folder_has(data_dir) == made
    assert written(data_dir) == {"deployment_id": f"{made}\n"}
    assert deployment.settle(store, data_dir) == made
    deployment.require(store, data_dir)


def test_to_require_it_makes_nothing(store: SqlStore, data_dir: pathlib.Path) -> None:
    deployment.require(store, data_dir)
    deployment.require(store, data_dir / "not there")
    assert store.find_deployment_id() is None
    assert list(data_dir.iterdir()) == []


def test_what_an_older_version_made_gets_an_id(store: SqlStore, data_dir: pathlib.Path) -> None:
    fill(store)
    use(data_dir)
    assert deployment.settle(store, data_dir) == store.find_deployment_id()


def test_a_store_that_was_used_does_not_get_an_empty_folder(
    store: SqlStore, data_dir: pathlib.Path
) -> None:
    fill(store)
    decision, told = refused(store, data_dir)
    assert decision is Decision.EMPTY_FOLDER
    assert f"{store.address} has been used, and data_dir {data_dir} has not: " in told
    use(data_dir)  # as the message says
    deployment.settle(store, data_dir)


def test_another_folder_is_refused_and_the_message_says_both_ids_and_what_to_do(
    store: SqlStore, data_dir: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    made = deployment.settle(store, data_dir)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    use(elsewhere)
    decision, told = refused(store, elsewhere)
    assert decision is Decision.OTHER_FOLDER
    assert f"{store.address} belongs to deployment {made}, and data_dir {elsewhere} " in told
    assert f"write {made} into {elsewhere}/deployment_id" in told
    (elsewhere / "deployment_id").write_text(OTHER)
    decision, told = refused(store, elsewhere)
    assert decision is Decision.DIFFERENT
    assert f"deployment {made}, and data_dir {elsewhere} to deployment {OTHER}: " in told
    (elsewhere / "deployment_id").write_text(made)  # as by `echo`, or without a newline
    assert deployment.settle(store, elsewhere) == made


def test_another_store_is_refused_until_the_file_is_removed(
    store: SqlStore, data_dir: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    made = deployment.settle(store, data_dir)
    with closing(batches_store.opened(tmp_path / "other.db")) as other:
        for prepare in (lambda _: None, fill):
            prepare(other)
            decision, told = refused(other, data_dir)
            assert decision is Decision.OTHER_STORE
            assert f"data_dir {data_dir} belongs to deployment {made}, and {other.address}" in told
            assert f"remove {data_dir}/deployment_id" in told
        use(data_dir)
        (data_dir / "deployment_id").unlink()
        assert deployment.settle(other, data_dir) != made
    assert refused(store, data_dir)[0] is Decision.DIFFERENT


def test_a_folder_that_lost_its_file_gets_it_back_from_the_store_in_it(
    store_inside: SqlStore, data_dir: pathlib.Path
) -> None:
    made = deployment.settle(store_inside, data_dir)
    use(data_dir)
    (data_dir / "deployment_id").unlink()
    deployment.require(store_inside, data_dir)
    assert deployment.settle(store_inside, data_dir) == made
    assert written(data_dir) == {"deployment_id": f"{made}\n"}


def test_a_database_that_was_copied_without_its_files_is_refused(
    store_inside: SqlStore, data_dir: pathlib.Path
) -> None:
    store_inside.keep_deployment_id(ONE)
    assert refused(store_inside, data_dir)[0] is Decision.OTHER_FOLDER


def test_an_older_store_that_is_put_back_into_its_folder_gets_the_id_of_that(
    store_inside: SqlStore, data_dir: pathlib.Path
) -> None:
    (data_dir / "deployment_id").write_text(f"{ONE}\n")
    use(data_dir)
    assert refused(store_inside, data_dir)[0] is Decision.OTHER_STORE, "it is empty"
    fill(store_inside)
    assert deployment.settle(store_inside, data_dir) == ONE
    assert store_inside.find_deployment_id() == ONE


@pytest.mark.parametrize("content", [b"", b"\n", b"mine", ONE.encode() * 9, b"\xff" * 32])
def test_a_file_that_holds_no_id_is_told_of_and_left(
    store: SqlStore, data_dir: pathlib.Path, content: bytes
) -> None:
    file = data_dir / "deployment_id"
    file.write_bytes(content)
    with pytest.raises(deployment.NoIdError, match=str(file)):
        deployment.settle(store, data_dir)
    assert (file.read_bytes(), store.find_deployment_id()) == (content, None)


def test_a_folder_that_cannot_be_looked_at_is_not_taken_for_one_without_an_id(
    store: SqlStore, data_dir: pathlib.Path
) -> None:
    (data_dir / "deployment_id").mkdir()
    with pytest.raises(IsADirectoryError):
        deployment.settle(store, data_dir)
    assert store.find_deployment_id() is None
