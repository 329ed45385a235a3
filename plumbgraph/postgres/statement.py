"""What a plan asks of PostgreSQL: statements as values."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from psycopg import errors

Row: TypeAlias = tuple[Any, ...]
Batch: TypeAlias = tuple["Statement", ...]
Replies: TypeAlias = list[list[Row]]
Result = TypeVar("Result")
SqlPlan: TypeAlias = Generator[Batch, Replies, Result]


@dataclass(frozen=True, slots=True)
class Statement:
    """One SQL statement with its parameters.

    Attributes:
        sql: Text with `%s` or `%(name)s` placeholders (beside which a literal percent sign is
            `%%`); `{schema}` stands for the quoted schema.
        params: Values for the placeholders.
        binary: Ask for binary results; a text without parameters that holds several statements
            needs `binary=False` and travels by the simple protocol, as one transaction.
        often: It is sent again and again, with named parameters.
    """

    sql: str
    params: Sequence[Any] | Mapping[str, Any] = ()
    binary: bool = True
    often: bool = False


def either(statement: Statement, older: Statement) -> SqlPlan[list[Row]]:
    """The rows of a statement, or of its older form where the schema was not migrated yet."""
    try:
        return (yield (statement,))[0]
    except (errors.UndefinedColumn, errors.UndefinedTable):
        return (yield (older,))[0]
