"""PostgreSQL's programs: where they are, as whom they run, and how a server's data is made."""

import contextlib
import dataclasses
import os
import pathlib
import pwd
import shutil
import subprocess

_DEBIAN = pathlib.Path("/usr/lib/postgresql")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Account:
    """As whom the server's processes run; None: as whoever runs the tests."""

    uid: int | None
    gid: int | None

    def command(self, *words: object) -> list[str]:
        """Say how one of the programs is run as them.

        Not by subprocess's `user`: that makes it fork where it would vfork, and the fork handlers
        of gRPC now and then kill the child of a process whose other threads are in gRPC.
        """
        own = [str(word) for word in words]
        if self.uid is None:
            return own
        return ["setpriv", f"--reuid={self.uid}", f"--regid={self.gid}", "--clear-groups", *own]


def initialise(folder: pathlib.Path, account: Account, *, user: str, password: str) -> None:
    """Make a server's data in the folder; by the loopback interface it asks for the password."""
    told = folder / "password"
    told.write_text(password)
    told.chmod(0o644)  # in a folder that the server's user alone can enter
    made = subprocess.run(
        account.command(
            path("initdb"),
            *("--pgdata", folder / "data", "--username", user, "--pwfile", told),
            *("--auth-local", "trust", "--auth-host", "scram-sha-256"),
            *("--encoding", "UTF8", "--locale", "C", "--no-sync", "--no-instructions"),
        ),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        cwd=folder,
        check=False,
    )
    assert made.returncode == 0, f"initdb: {made.stdout}{made.stderr}"


def account() -> Account:
    """Choose one that PostgreSQL runs as: it refuses to run as root."""
    if os.geteuid() != 0:
        return Account(uid=None, gid=None)
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            return Account(uid=entry.pw_uid, gid=entry.pw_gid)
    raise AssertionError("PostgreSQL refuses to run as root, and there is no other user")


def path(name: str) -> str:
    """Return where a program of PostgreSQL is."""
    found = find(name)
    assert found is not None, f"{name} is absent beside initdb"
    return found


def find(name: str) -> str | None:
    """Return the newest version that is installed; Debian has them in folders of their own."""
    folders = sorted(_DEBIAN.glob("*/bin"), key=_version, reverse=True)
    return shutil.which(name, path=os.pathsep.join([*map(str, folders), os.environ["PATH"]]))


def _version(folder: pathlib.Path) -> int:
    return int(folder.parent.name) if folder.parent.name.isdigit() else 0
