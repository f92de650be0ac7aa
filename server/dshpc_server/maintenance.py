"""What an administrator runs beside the servers: `check` and `migrate`, put together from settings.

Only here, and in `app`, adapters are named. What stands in the way is an exception that names it:
`config.ConfigError` or one of `errors`.
"""

import contextlib
import datetime
import os
import pathlib
import sys
import time
from collections.abc import Iterator, Sequence

from dshpc_server import clock, config, deployment, errors, presence
from dshpc_server.checking import check as checks
from dshpc_server.checking import nodes, repair, telling
from dshpc_server.domain import retry
from dshpc_server.domain.deployment import Standing
from dshpc_server.engine.local import processes
from dshpc_server.engine.slurm import living
from dshpc_server.store import port, records
from dshpc_server.store.sql import database, invariants, migrate
from dshpc_server.store.sql import deployment as stored_deployment
from dshpc_server.transport import encoder, reading

SECOND_LOOK_SECONDS = 1.0
"""What servers are in the middle of is over by then, mostly."""
_CLOCK = clock.SystemClock()
_ENCODER = encoder.MultiJobResultEncoder()


class LivingServersError(errors.DshpcError):
    """The store is to be one's own, and servers use it."""

    def __init__(self, store: str, servers: Sequence[records.ServerRecord]) -> None:
        scopes = ", ".join(sorted({server.scope or "of no scope" for server in servers}))
        super().__init__(
            f"{store} is in use by {len(servers)} other server(s) ({scopes}); stop them. One that "
            "was killed counts until its lease has expired"
        )


def run_check(settings: config.Settings, format: telling.Format) -> bool:  # noqa: A002 - the flag's name
    """Look everything over and say what is wrong; whether nothing is. Nothing is changed."""
    url = _current(settings)
    _find_content(settings)
    told = telling.Telling(sys.stdout, sys.stderr, format)
    with contextlib.closing(invariants.SqlInspection.open(url, read_only=True)) as store:
        check = _check(settings, store, told, wait_seconds=SECOND_LOOK_SECONDS)
        for finding in check.run():
            told.finding(finding, None)
    told.counts(check.counts)
    return check.counts["problems"] == 0


def run_repair(
    settings: config.Settings,
    format: telling.Format,  # noqa: A002 - the flag's name
    gone_nodes: Sequence[str],
) -> bool:
    """Look everything over and put right what can be; whether no problem is left.

    The store is to be nobody else's meanwhile: LivingServersError, StoreInUseError. The data folder
    is to be its own: MismatchError.
    """
    url = _current(settings)
    _find_content(settings)
    _find_match(url, settings)
    arrays_dir = settings.data_dir.absolute() / "engine" / "slurm" / "arrays"
    told = telling.Telling(sys.stdout, sys.stderr, format)
    for node in gone_nodes:
        _end_attempts_of(node, url, settings, told)
    with _alone(url, scope="") as store:
        check = _check(settings, store, told, wait_seconds=0)
        repairing = repair.Repair(
            store,
            settings.data_dir.absolute(),
            without_output=_ENCODER.without_output,
            lives=lambda folder: _lives(folder) or living.shows_itself(folder, arrays_dir),
        )
        for finding in check.run():
            outcome = repairing.repair(finding)
            told.finding(finding, outcome)
            if outcome.is_repaired:
                check.counts.repaired(finding)
    told.counts(check.counts)
    return check.counts.problems_left == 0


def run_migrate(settings: config.Settings) -> None:
    """Bring the store up to date, and say from which version to which.

    Nothing is changed where the data folder is that of another store: MismatchError.
    """
    url = _existing(settings)
    before = invariants.version(url)
    if before == migrate.HEAD:
        sys.stdout.write(f"the store is of version {migrate.HEAD} already\n")
        return
    _find_no_mismatch(url, settings)
    with contextlib.closing(invariants.SqlInspection.open(url)) as store:
        store.leave()
    sys.stdout.write(f"the store was of version {before}, and is of version {migrate.HEAD} now\n")


def _check(
    settings: config.Settings,
    store: invariants.SqlInspection,
    told: telling.Telling,
    *,
    wait_seconds: float,
) -> checks.Check:
    store.max_retries = settings.max_retries
    store.gone = presence.Presence(settings.data_dir.absolute() / "servers").gone
    return checks.Check(
        store,
        settings.data_dir.absolute(),
        read=reading.told,
        wait=lambda: time.sleep(wait_seconds),
        clock=_CLOCK,
        max_upload_age=datetime.timedelta(seconds=settings.upload_expiry_seconds),
        tell=told.progress,
    )


def _end_attempts_of(
    node: str, url: str | pathlib.Path, settings: config.Settings, told: telling.Telling
) -> None:
    """End what servers of a node had that is gone, and say which attempts that were."""
    scope = f"local/{node}"
    # To open a store for one server ends the record of every other one.
    with contextlib.closing(invariants.SqlInspection.open(url, read_only=True)) as looked_at:
        dead = [each.server_id for each in looked_at.find_servers() if each.scope == scope]
    if not dead:
        told.done(f"no server of {scope} has left anything", {"node": node, "attempts": 0})
        return
    retries = retry.Retries(
        max_retries=settings.max_retries,
        first_seconds=settings.retry_first_seconds,
        last_seconds=settings.retry_last_seconds,
    )
    policy = nodes.Policy(retries=retries, clock=_CLOCK)
    with _alone(url, scope=scope) as store:
        for ended in nodes.end_attempts(store, node, dead, encoder=_ENCODER, policy=policy):
            key, status = ended.key, ended.status.value
            told.done(
                f"{scope} is gone: job {key.job_id} attempt {key.number} is {status}",
                {"node": node, "job": key.job_id, "attempt": key.number, "status": status},
            )


@contextlib.contextmanager
def _alone(url: str | pathlib.Path, *, scope: str) -> Iterator[invariants.SqlInspection]:
    """Open the store as its one server."""
    with contextlib.closing(invariants.SqlInspection.open(url, scope=scope)) as store:
        try:
            others = [
                server
                for server in store.find_servers()
                if not server.is_expired and server.server_id != store.server_id
            ]
            if others:
                raise LivingServersError(_name(url), others)
            yield store
        finally:
            store.leave()


def _current(settings: config.Settings) -> str | pathlib.Path:
    """Where the store is, which is up to date."""
    url = _existing(settings)
    found = invariants.version(url)
    if found != migrate.HEAD:
        raise port.StoreUnusableError(
            _name(url),
            f"its version is {found}, this program's is {migrate.HEAD}; "
            "'dshpc-server migrate' brings it up to date",
        )
    return url


def _find_content(settings: config.Settings) -> None:
    """Raise ConfigError unless the data folder is one that a server made, and can be read.

    In a folder that is mistyped, not mounted, or somebody else's, everything recorded would seem to
    be gone, and a repair would forget it.
    """
    folder = settings.data_dir.absolute() / "files"
    try:
        with os.scandir(folder):
            pass
    except OSError as error:
        raise config.ConfigError(f"data_dir: {folder}: {error.strerror}") from error


def _find_match(url: str | pathlib.Path, settings: config.Settings) -> None:
    """Raise MismatchError where the data folder is not that of the store."""
    with contextlib.closing(invariants.SqlInspection.open(url, read_only=True)) as store:
        deployment.require(store, settings.data_dir.absolute())


def _find_no_mismatch(url: str | pathlib.Path, settings: config.Settings) -> None:
    """Raise MismatchError where the data folder says that it belongs to another store.

    Tables alone are changed here, so a folder that says nothing is none of our business.
    """
    data_dir = settings.data_dir.absolute()
    folder_id = deployment.folder_has(data_dir)
    if folder_id is None:
        return
    standing = Standing(
        store_id=invariants.deployment_id(url),
        folder_id=folder_id,
        is_begun=False,
        store_is_new=False,
        folder_is_new=False,
        store_lies_inside=stored_deployment.lies_in(database.parse(url), data_dir),
    )
    deployment.refuse(standing, store=_name(url), data_dir=data_dir)


def _existing(settings: config.Settings) -> str | pathlib.Path:
    """Where the store is; none is made. Raises NotFoundError, or StoreUnusableError if empty."""
    url = settings.store or settings.data_dir.absolute() / "dshpc.sqlite"
    try:
        parsed = database.parse(url)
    except ValueError as error:
        raise config.ConfigError(f"store: {error}") from error
    is_file = parsed.get_backend_name() == "sqlite"
    if is_file and not pathlib.Path(str(parsed.database)).is_file():
        raise errors.NotFoundError("store", str(parsed.database))
    if invariants.version(url) is None:
        raise port.StoreUnusableError(
            _name(url), "it is empty; the first server that is started on it makes one there"
        )
    return url


def _name(url: str | pathlib.Path) -> str:
    """How a store is called, without a password."""
    with contextlib.closing(database.connect(database.parse(url), read_only=True)) as found:
        return found.name


def _lives(folder: pathlib.Path) -> bool:
    """Whether a process of this machine has its workspace in this folder."""
    return any(
        processes.workspace_of(int(name)) == str(folder / "workspace")
        for name in os.listdir("/proc")  # noqa: PTH208 - a Path for each process is dear
        if name.isdigit()
    )
