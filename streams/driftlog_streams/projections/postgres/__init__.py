"""The sink that is a PostgreSQL schema: one table a collection, typed by its declaration."""
