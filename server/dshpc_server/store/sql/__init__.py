"""The store in SQL: one set of tables and statements, SQLAlchemy Core, SQLite as the default."""
