"""docs/troubleshooting.md: a server that does not start or answer, and methods that are not there.

Every symptom is provoked, and what is seen then holds the words of the page. The other chapters are
in test_troubleshooting_jobs.py, test_troubleshooting_requests.py and test_troubleshooting_slurm.py.
"""

import pathlib
import signal
import socket
import sqlite3
import subprocess
from collections.abc import Callable, Iterator

import grpc
import pytest

from dshpc_server import config
from dshpc_server.transport import edge
from support import calls, component, documents_symptoms, live_server, loaded, postgres, site
from support.postgres_fixtures import mortal_postgres, mortal_postgres_server

__all__ = ["mortal_postgres", "mortal_postgres_server"]

SECONDS = 60
PORT = "50051"
SYMPTOMS = documents_symptoms.Symptoms(
    "The server does not start", "The server does not answer", "Methods"
)
UNTESTED = {
    "The client did not read": "it takes megabytes and half a minute; the sentence is that of "
    "the error, which test_the_sentence_about_a_client_that_does_not_read compares",
}
IN_OTHER_MODULES = {
    "A row is REJECTED",
    "A job does not complete",
    "On a Slurm cluster",
    "Files",
    "A call is refused for a limit",
    "Requests, and grpcurl",
}
Refused = Callable[..., str]


@pytest.fixture(scope="module")
def methods_dir(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The test methods."""
    return site.write(tmp_path_factory.mktemp("site"))


@pytest.fixture
def refused(tmp_path: pathlib.Path, methods_dir: pathlib.Path) -> Refused:
    """Starts servers that do not start; what they say, with the page's port."""

    def start(*more: str, listen: str = "127.0.0.1:0", says: str = "") -> str:
        words = [f"--listen={listen}", f"--data-dir={tmp_path}/data"]
        words += [f"--methods-dir={methods_dir}", *more]
        done = loaded.run(["serve", *words], timeout=SECONDS)
        assert (done.returncode, done.stdout) == (78, "")
        return done.stderr.replace(says, PORT) if says else done.stderr

    return start


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, methods_dir: pathlib.Path
) -> Iterator[live_server.ServerProcess]:
    """A server that runs."""
    folder = tmp_path_factory.mktemp("server")
    with live_server.as_process(folder, methods_dir, methods_reload_seconds=0) as server:
        yield server


@pytest.fixture
def stopped(
    tmp_path: pathlib.Path, methods_dir: pathlib.Path
) -> Iterator[live_server.ServerProcess]:
    """A server for a test that stops it."""
    with live_server.as_process(tmp_path, methods_dir, stop_grace_seconds=0.2) as server:
        yield server


@SYMPTOMS.about("The port is taken")
def test_a_taken_port(refused: Refused) -> str:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        return refused(listen=f"127.0.0.1:{port}", says=port)


@SYMPTOMS.about("The data folder is in use")
def test_a_data_folder_in_use(server: live_server.ServerProcess, refused: Refused) -> str:
    return refused(f"--data-dir={server.data_dir}")


@SYMPTOMS.about("The store in PostgreSQL cannot be used")
def test_a_database_that_is_not_there(refused: Refused) -> str:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    return refused(f"--store=postgresql://dshpc@127.0.0.1:{port}/dshpc")


@SYMPTOMS.about("The data folder is not that of the store")
def test_a_data_folder_of_another_store(
    refused: Refused, tmp_path: pathlib.Path, methods_dir: pathlib.Path
) -> str:
    store = f"sqlite:///{tmp_path}/elsewhere.sqlite"
    (tmp_path / "first").mkdir()
    with live_server.as_process(tmp_path / "first", methods_dir, store=store):
        pass
    told = refused(f"--store={store}")
    with live_server.as_process(tmp_path, methods_dir):
        pass
    told += refused(f"--store={store}") + refused(f"--store=sqlite:///{tmp_path}/new.sqlite")
    with sqlite3.connect(tmp_path / "elsewhere.sqlite") as database:
        database.execute("DELETE FROM deployment")
        database.execute(
            "INSERT INTO batches (batch_id, display_name, created_at, row_count)"
            " VALUES ('b', '', 0, 0)"
        )
    database.close()
    told += refused(f"--store={store}", f"--data-dir={tmp_path}/empty")
    (tmp_path / "data/deployment_id").write_text("mine")
    return told + refused()


@SYMPTOMS.about("The database is not one of dshpc")
def test_a_database_of_something_else(refused: Refused, tmp_path: pathlib.Path) -> str:
    (tmp_path / "data").mkdir()
    with sqlite3.connect(tmp_path / "data/dshpc.sqlite") as database:
        database.execute("CREATE TABLE books (title TEXT)")
    database.close()
    return refused()


@SYMPTOMS.about("The methods folder is not there")
def test_a_missing_methods_folder(refused: Refused, tmp_path: pathlib.Path) -> str:
    return refused(f"--methods-dir={tmp_path}/nowhere")


@SYMPTOMS.about("It does not listen beyond loopback")
def test_listening_beyond_loopback(refused: Refused) -> str:
    return refused(listen="0.0.0.0:50051")


@SYMPTOMS.about("The store is newer than the server")
def test_a_newer_store(refused: Refused, tmp_path: pathlib.Path, methods_dir: pathlib.Path) -> str:
    with live_server.as_process(tmp_path, methods_dir):
        pass
    with sqlite3.connect(tmp_path / "data/dshpc.sqlite") as database:
        database.execute("UPDATE dshpc_version SET version_num = '0099'")
    database.close()
    return refused()


@SYMPTOMS.about("A setting is not known, or does not fit")
def test_settings_that_are_wrong(refused: Refused, tmp_path: pathlib.Path) -> str:
    (tmp_path / "wrong.toml").write_text("slotz = 3\n")
    return refused(f"--config={tmp_path}/wrong.toml") + refused("--slots=many")


@SYMPTOMS.about("Nobody listens there")
def test_a_port_where_nobody_listens() -> str:
    grpcurl = component.path("grpcurl")
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = f"127.0.0.1:{closed.getsockname()[1]}"
    commands = (
        documents_symptoms.dshpc(address, "server", "info"),
        [grpcurl, "-plaintext", address, "list"],
    )
    told = "".join(documents_symptoms.said(command) for command in commands)
    return told.replace(address, f"127.0.0.1:{PORT}")


@SYMPTOMS.about("The server is stopping")
def test_a_server_that_is_stopped(
    stopped: live_server.ServerProcess, tmp_path: pathlib.Path
) -> str:
    with grpc.insecure_channel(stopped.address) as channel:
        service = calls.Service(channel)
        with documents_symptoms.held(service, tmp_path) as config:
            stream = service.stream(config)
            assert next(stream).HasField("accepted")
            stopped.process.terminate()
            refusal = calls.refusal(lambda: list(stream))
            assert refusal.code == grpc.StatusCode.UNAVAILABLE
            return refusal.text


@SYMPTOMS.about("A stream ended without statistics")
def test_a_stream_that_is_cut(
    stopped: live_server.ServerProcess, methods_dir: pathlib.Path, tmp_path: pathlib.Path
) -> str:
    with (
        grpc.insecure_channel(stopped.address) as channel,
        documents_symptoms.held(calls.Service(channel), tmp_path) as config,
        subprocess.Popen(
            documents_symptoms.dshpc(stopped.address, "run", "-"),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        ) as running,
    ):
        assert running.stdin is not None
        assert running.stderr is not None
        running.stdin.write(f"jobs: [{{method: hold, file_hash: {config.file_hash}}}]")
        running.stdin.close()
        assert running.stderr.readline().startswith("batch ")
        stopped.process.terminate()
        stopped.process.wait(SECONDS)
        # What comes in its place does not know the batch, so that nobody waits a minute.
        (other := tmp_path / "another").mkdir()
        with live_server.as_process(other, methods_dir, listen=stopped.address):
            told = running.stderr.read()
            assert running.wait(SECONDS) == 75
        return told


@SYMPTOMS.about("PostgreSQL went away")
def test_a_database_that_goes_and_comes_back(
    tmp_path: pathlib.Path, methods_dir: pathlib.Path, mortal_postgres: postgres.Postgres
) -> str:
    store = mortal_postgres.url(mortal_postgres.create())
    with live_server.as_process(tmp_path, methods_dir, store=store) as server:
        mortal_postgres.stop()
        with grpc.insecure_channel(server.address) as channel:
            service = calls.Service(channel)
            told = calls.refusal(lambda: service.ask(calls.config("no_input")))
        assert told.code == grpc.StatusCode.UNAVAILABLE
        mortal_postgres.start()
        live_server.wait_for(
            lambda: "store.answers_again" in server.log.read_text(), "the store to answer again"
        )
    log = server.log.read_text()
    assert log.count("store.unavailable") == log.count("store.answers_again") == 1
    assert postgres.PASSWORD.replace(" ", "%20") not in log
    assert postgres.PASSWORD not in log
    return f"{told.text}\n{log}"


def test_the_sentence_about_a_client_that_does_not_read() -> None:
    default = config.Settings.model_fields["write_stall_seconds"].default
    shown = documents_symptoms.shown("The client did not read")
    assert shown == [str(edge.StalledReaderError(default))]


@SYMPTOMS.about("A method that was installed is not found")
def test_a_method_that_cannot_be_used(
    server: live_server.ServerProcess, methods_dir: pathlib.Path
) -> str:
    (methods_dir / "commands/broken.json").write_text("{")
    server.process.send_signal(signal.SIGHUP)

    def reloaded() -> str:
        log = server.log.read_text()
        return log if "methods.reloaded" in log else ""

    log: str = live_server.wait_for(reloaded, "the methods to be read again")
    assert "methods.loaded" in log
    return log


@SYMPTOMS.about("A parameter is not known any more")
def test_a_parameter_that_is_not_declared(server: live_server.ServerProcess) -> str:
    absent = "a" * 64  # the parameters are looked at first
    batch = f"jobs: [{{method: declared, file_hash: {absent}, parameters: {{label: a, x: 2}}}}]"
    command = documents_symptoms.dshpc(server.address, "run", "-")
    return documents_symptoms.said(command, sent=batch)


def test_every_symptom_of_these_chapters_is_provoked() -> None:
    SYMPTOMS.check_complete(UNTESTED)


def test_no_chapter_is_left_out() -> None:
    chapters = {*SYMPTOMS.chapters, *IN_OTHER_MODULES}
    assert chapters == set(documents_symptoms.CHAPTERS)


def test_what_is_compared_with_the_page_can_differ() -> None:
    assert documents_symptoms.is_seen("over … of 3", "it is over the limit of 3, sadly")
    assert not documents_symptoms.is_seen("over … of 3", "it is over the limit of 4")
