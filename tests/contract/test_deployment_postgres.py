"""A store in PostgreSQL and its data folder: starts at one moment, older stores, backups."""

import concurrent.futures
import contextlib
import pathlib
import shutil
from collections.abc import Sequence

import alembic.command
import alembic.config
import pytest

from dshpc_server import config, deployment, errors, maintenance
from dshpc_server.domain.deployment import Decision
from dshpc_server.store.sql import database, migrate
from dshpc_server.store.sql.store import SqlStore
from support import postgres
from support import store_values as v
from support.postgres import Postgres
from support.postgres_fixtures import empty_postgres, postgres_server

__all__ = ["empty_postgres", "postgres_server"]

OTHER = "e" * 32
NEW_FILE = f"INSERT INTO files VALUES ('{v.sha('file')}', 12, 'a.csv', '', 0, 0)"


@pytest.fixture
def url(postgres_server: Postgres, empty_postgres: str) -> str:
    """An empty database."""
    return postgres_server.url(empty_postgres)


@pytest.fixture
def data_dir(tmp_path: pathlib.Path) -> pathlib.Path:
    """A folder that an older version has used."""
    folder = tmp_path / "data"
    (folder / "files").mkdir(parents=True)
    return folder


@pytest.fixture
def older(url: str, postgres_server: Postgres, empty_postgres: str) -> str:
    """A store of the version before, with something in it."""
    settings = alembic.config.Config()
    settings.set_main_option("script_location", migrate._SCRIPTS)
    opened = database.connect(database.parse(url), read_only=False)
    with contextlib.closing(opened), opened.writers.begin() as connection:
        settings.attributes["connection"] = connection
        alembic.command.upgrade(settings, "0003")
    postgres_server.execute(NEW_FILE, database=empty_postgres)
    return url


def start(url: str, data_dir: pathlib.Path) -> str | deployment.MismatchError:
    """What a server does first."""
    with contextlib.closing(SqlStore.open(url)) as store:
        try:
            return deployment.settle(store, data_dir)
        except deployment.MismatchError as error:
            return error
        finally:
            store.leave()


def start_at_once(
    urls: Sequence[str], folders: Sequence[pathlib.Path]
) -> list[str | deployment.MismatchError]:
    with concurrent.futures.ThreadPoolExecutor(len(urls)) as threads:
        return list(threads.map(start, urls, folders))


def decision(ended: str | deployment.MismatchError) -> Decision:
    assert isinstance(ended, deployment.MismatchError), ended
    return ended.decision


def migrated(url: str, data_dir: pathlib.Path) -> None:
    maintenance.run_migrate(config.load(None, {"data_dir": data_dir, "store": url}))


def version(server: Postgres, name: str) -> str:
    found = server.execute(f"SELECT version_num FROM {migrate.VERSION_TABLE}", database=name)
    return str(found[0][0])


def test_servers_that_start_at_one_moment_on_an_empty_database_agree(
    url: str, data_dir: pathlib.Path
) -> None:
    (made,) = set(start_at_once([url] * 4, [data_dir] * 4))
    assert made == deployment.folder_has(data_dir)
    assert start(url, data_dir) == made


def test_of_two_folders_at_one_moment_one_becomes_the_stores(
    url: str, data_dir: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    folders = [data_dir, tmp_path / "other"]
    folders[1].mkdir()
    ends = start_at_once([url] * 2, folders)
    (lost,) = (end for end in ends if isinstance(end, deployment.MismatchError))
    assert lost.decision is Decision.OTHER_FOLDER
    assert postgres.PASSWORD not in str(lost)
    assert deployment.folder_has(folders[ends.index(lost)]) is None


def test_an_older_store_with_its_folder_goes_on_without_a_word(
    older: str, data_dir: pathlib.Path
) -> None:
    made = start(older, data_dir)
    assert made == deployment.folder_has(data_dir)
    with contextlib.closing(SqlStore.open(older, read_only=True)) as store:
        assert store.find_file(v.sha("file")) is not None


def test_an_older_store_with_an_empty_folder_is_refused(older: str, tmp_path: pathlib.Path) -> None:
    (tmp_path / "wrong").mkdir()
    assert decision(start(older, tmp_path / "wrong")) is Decision.EMPTY_FOLDER


def test_a_migration_beforehand_leaves_it_to_the_first_server(
    older: str, data_dir: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    migrated(older, tmp_path / "not mounted here")
    assert isinstance(start(older, data_dir), str)


def test_a_migration_is_refused_that_meets_the_folder_of_another_deployment(
    older: str, data_dir: pathlib.Path, postgres_server: Postgres, empty_postgres: str
) -> None:
    (data_dir / deployment.NAME).write_text(OTHER)
    with pytest.raises(deployment.MismatchError) as refused:
        migrated(older, data_dir)
    assert refused.value.decision is Decision.OTHER_STORE
    assert postgres.PASSWORD not in str(refused.value)
    assert version(postgres_server, empty_postgres) == "0003"


def test_a_backup_is_put_back_with_the_file(
    url: str,
    data_dir: pathlib.Path,
    tmp_path: pathlib.Path,
    postgres_server: Postgres,
    empty_postgres: str,
) -> None:
    made = start(url, data_dir)
    postgres_server.terminate(empty_postgres)
    copied = postgres_server.create(template=empty_postgres)
    put_back = tmp_path / "put back"
    shutil.copytree(data_dir, put_back)
    try:
        (put_back / deployment.NAME).unlink()
        refusal = start(postgres_server.url(copied), put_back)
        assert decision(refusal) is Decision.OTHER_FOLDER
        (put_back / deployment.NAME).write_text(f"{made}\n")
        assert start(postgres_server.url(copied), put_back) == made
        # A copy that is to go on beside the first gets an id of its own.
        postgres_server.execute("DELETE FROM deployment", database=copied)
        (put_back / deployment.NAME).unlink()
        own = start(postgres_server.url(copied), put_back)
        assert own != made
        assert decision(start(postgres_server.url(copied), data_dir)) is Decision.DIFFERENT
        assert decision(start(url, put_back)) is Decision.DIFFERENT
    finally:
        postgres_server.drop(copied)


def test_who_is_refused_leaves_no_record_of_a_server(
    url: str, data_dir: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    from dshpc_server import app

    (tmp_path / "other").mkdir()
    start(url, data_dir)
    settings = config.load(None, {"data_dir": tmp_path / "other", "store": url})
    with pytest.raises(errors.DshpcError, match="does not say so"):
        app._open_store(settings, tmp_path / "other")
    with contextlib.closing(SqlStore.open(url, read_only=True)) as store:
        assert store.find_servers() == []
