"""Alembic runs this for every command; `store.sql.migrate` hands it the connection."""

from alembic import context

from dshpc_server.store.sql import migrate, tables

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=tables.metadata,
    version_table=migrate.VERSION_TABLE,
    version_table_schema=context.config.attributes.get("schema"),
    # The caller's transaction holds all of it; SQLite, too, takes back changes of tables.
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
