"""What a server has stored, and words that nobody outside is to read."""

import contextlib
import pathlib
import sqlite3

INSIDE = (
    "Traceback",
    "dshpc_server",
    "Unexpected",
    "sqlalchemy",
    "sqlite3.",
    ".py",
    "site-packages",
)
"""Text that only ever comes from inside."""


def stored(data_dir: pathlib.Path) -> dict[str, int]:
    """Count what is there: the rows of every table, the files of every folder."""
    return _rows(data_dir / "dshpc.sqlite") | {
        folder: sum(path.is_file() for path in (data_dir / folder).rglob("*"))
        for folder in ("files", "attempts")
    }


def _rows(database: pathlib.Path) -> dict[str, int]:
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        return {
            name: connection.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0]
            for (name,) in tables.fetchall()
        }


def assert_nothing_from_inside(told: str, data_dir: pathlib.Path) -> None:
    """Fail when a text holds something from inside."""
    found = [word for word in (*INSIDE, str(data_dir)) if word in told]
    assert not found, f"{found} in {told[:2000]}"
