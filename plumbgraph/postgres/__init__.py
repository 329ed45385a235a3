"""PostgreSQL: pools that heal, statements as values, numbered migrations."""
