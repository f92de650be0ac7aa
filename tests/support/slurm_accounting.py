"""Accounting of a Slurm cluster for tests: slurmdbd, and the database that it keeps its records in.

Promise: the database listens on a socket in the cluster's folder alone.
"""

import pathlib
import subprocess
from collections.abc import Mapping

from support.slurm_processes import Daemon, until
from support.slurm_settings import CLUSTER_NAME, Settings

_CARELESS = ("--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=64M")
_COMMAND_SECONDS = 60.0


class Accounting:
    """The two daemons behind sacct."""

    def __init__(self, settings: Settings, environment: Mapping[str, str]) -> None:
        self._settings = settings
        self._environment = environment
        self._daemons: list[Daemon] = []

    def start(self) -> None:
        """Start both; returns when they know the cluster."""
        self._start_database()
        environment = {**self._environment, "MYSQL_UNIX_PORT": str(self._settings.database_socket)}
        log = self._settings.log("slurmdbd.said")
        self._daemons.append(Daemon(["slurmdbd", "-D"], log=log, environment=environment))
        listing = ("sacctmgr", "--noheader", "--parsable2", "list", "cluster", "format=cluster")
        assert until(lambda: self._succeeds(*listing)), "slurmdbd does not answer"
        self._run("sacctmgr", "--immediate", "add", "cluster", CLUSTER_NAME)

    def end(self) -> None:
        """Kill both."""
        for daemon in reversed(self._daemons):
            daemon.kill()
        self._daemons = []

    def _start_database(self) -> None:
        data: pathlib.Path = self._settings.folder / "database"
        options = ("--no-defaults", f"--datadir={data}", "--user=root")
        self._run(
            "mariadb-install-db",
            *options,
            "--auth-root-authentication-method=socket",
            "--skip-test-db",
        )
        socket = f"--socket={self._settings.database_socket}"
        words = ["mariadbd", *options, socket, "--skip-networking", *_CARELESS]
        words.append(f"--pid-file={self._settings.folder / 'mysqld.pid'}")
        log = self._settings.log("mariadbd")
        self._daemons.append(Daemon(words, log=log, environment=self._environment))
        ask = ("mariadb", "--no-defaults", socket, "--user=root", "--execute")
        assert until(lambda: self._succeeds(*ask, "SELECT 1")), "the database does not answer"
        self._run(*ask, "CREATE DATABASE slurm_accounting")

    def _run(self, *words: str) -> None:
        done = self._done(*words)
        assert done.returncode == 0, f"{' '.join(words)}: {done.stdout}{done.stderr}"

    def _succeeds(self, *words: str) -> bool:
        return self._done(*words).returncode == 0

    def _done(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            words,
            env=dict(self._environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_COMMAND_SECONDS,
            check=False,
        )
