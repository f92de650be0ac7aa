"""PostgreSQL's programs: where they are, as whom they run, and how a server's data is made."""

import contextlib
import dataclasses
import os
import pathlib
import pwd
import shutil
import subprocess
from typing import Any

_DEBIAN = pathlib.Path("/usr/lib/postgresql")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Account:
    """As whom the server's processes run; None: as whoever runs the tests."""

    uid: int | None
    gid: int | None

    def as_arguments(self) -> dict[str, Any]:
        """How subprocess is told."""
        if self.uid is None:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}


def initialise(folder: pathlib.Path, account: Account, *, user: str, password: str) -> None:
    """Make a server's data in the folder; by the loopback interface it asks for the password."""
    told = folder / "password"
    told.write_text(password)
    told.chmod(0o644)  # in a folder that the server's user alone can enter
    made = subprocess.run(
        [
            path("initdb"),
            *("--pgdata", folder / "data", "--username", user, "--pwfile", told),
            *("--auth-local", "trust", "--auth-host", "scram-sha-256"),
            *("--encoding", "UTF8", "--locale", "C", "--no-sync", "--no-instructions"),
        ],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        cwd=folder,
        check=False,
        **account.as_arguments(),
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
