"""Bringing a database up to the tables of this version, by the scripts in `migrations/`.

Promise: all of it or nothing, in one transaction; a database that is not ours, or is newer than we
are, is left as it was. There is no alembic.ini, and logging is not touched.
"""

import sqlalchemy

from dshpc_server.store.port import StoreUnusableError

# The newest script; compared first, so that opening a store that is up to date costs one look.
HEAD = "0007"
VERSION_TABLE = "dshpc_version"
_SCRIPTS = "dshpc_server.store.sql:migrations"


def is_current(connection: sqlalchemy.Connection, *, store: str) -> bool:
    """Whether the database has the tables of this version.

    Looked at is the one schema that new tables come into. Raises StoreUnusableError when it is
    somebody else's or a newer version's.
    """
    schema = _schema(connection)
    if not schema:
        raise StoreUnusableError(store, "it has no schema that new tables could come into")
    names = sqlalchemy.inspect(connection).get_table_names(schema=schema)
    if not names:
        return False
    if VERSION_TABLE not in names:
        raise StoreUnusableError(store, "it is a database of something else")
    version = connection.exec_driver_sql(f"SELECT version_num FROM {VERSION_TABLE}").scalar_one()  # noqa: S608 (own name)
    if version > HEAD:
        raise StoreUnusableError(store, f"its version is {version}, this server's is {HEAD}")
    return bool(version == HEAD)


def upgrade(connection: sqlalchemy.Connection) -> None:
    """Run the scripts that are missing, inside the transaction of this connection."""
    # An eighth of the time that a server takes to start, and mostly there is nothing to run.
    import alembic.command  # noqa: PLC0415 - see the line above
    import alembic.config  # noqa: PLC0415 - see the line above

    config = alembic.config.Config()
    config.set_main_option("script_location", _SCRIPTS)
    config.attributes["connection"] = connection
    config.attributes["schema"] = _schema(connection)
    alembic.command.upgrade(config, "head")


def _schema(connection: sqlalchemy.Connection) -> str | None:
    """Return where new tables come; what else is visible there may be somebody else's."""
    return sqlalchemy.inspect(connection).default_schema_name
