"""The one error for bad input, and the problems it carries."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

_SHOWN = 10
_WIDEST_VALUE = 60


class Problem(NamedTuple):
    """One thing wrong with the input, and what to do about it.

    `line` is the line of a text file (the header of an ordinary file is line 1); in parquet files
    and data frames it is the row, counted from 1. None where the problem belongs to no single line,
    column or value.
    """

    line: int | None
    column: str | None
    value: str | None
    what: str
    cure: str


class DataError(ValueError):
    """Input that cannot be used; lists every problem found, not only the first.

    Attributes:
        file: the file or table, None where there is none.
        problems: sorted by line; problems without a line come last.
    """

    def __init__(self, problems: Iterable[Problem], file: str | None = None) -> None:
        self.problems = tuple(sorted(problems, key=lambda p: (p.line is None, p.line or 0)))
        self.file = file
        super().__init__(self.problems, file)

    def __str__(self) -> str:
        count = len(self.problems)
        head = f"{self.file or 'data'}: {count} problem{'' if count == 1 else 's'}"
        shown = [f"  {_sentence(problem)}" for problem in self.problems[:_SHOWN]]
        rest = [f"  and {count - _SHOWN} more"] if count > _SHOWN else []
        return "\n".join([head, *shown, *rest])


def expectations() -> tuple[list[Problem], Callable[[object, str, str], None]]:
    """A list, and a function (ok, what, cure) that adds a problem without a line where not ok."""
    found: list[Problem] = []

    def expect(ok: object, what: str, cure: str) -> None:
        if not ok:
            found.append(Problem(None, None, None, what, cure))

    return found, expect


def _sentence(problem: Problem) -> str:
    where = [
        None if problem.line is None else f"line {problem.line}",
        None if problem.column is None else f"column {shorten(problem.column)}",
        None if problem.value is None else f"value {shorten(problem.value)}",
    ]
    place = ", ".join(part for part in where if part)
    return f"{place + ': ' if place else ''}{problem.what}; {problem.cure}"


def shorten(text: str) -> str:
    """`text` quoted for a message: control characters escaped, long values cut."""
    return repr(text if len(text) <= _WIDEST_VALUE else text[:_WIDEST_VALUE] + "...")
