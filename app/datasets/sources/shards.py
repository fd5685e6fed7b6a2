"""Several parquet files made one, in constant memory. It knows files on disk and nothing else."""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from app.datasets.sources.places import SourceRefused

MEMORY: Final = "256MB"
"""What DuckDB may hold; it spills to disk beyond."""
JOIN_SECONDS: Final = 600.0
"""A small file may announce any number of rows: a worker does not write them all day."""


def join_parquet(parts: Sequence[Path], whole: Path, *, seconds: float = JOIN_SECONDS) -> None:
    """The rows of all parts, in order, as one file; columns are matched by name.

    Raises:
        SourceRefused: they do not fit together, or it would take more than `seconds`.
    """
    import duckdb

    trouble = ""
    settings: dict[str, str | bool | int | float | list[str]] = {
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
        "memory_limit": MEMORY,
        "threads": "1",
        "preserve_insertion_order": "true",
        "temp_directory": str(whole.parent),
    }
    with duckdb.connect(config=settings) as database:
        names = ", ".join(_quoted(part) for part in parts)
        bell = threading.Timer(seconds, database.interrupt)
        bell.daemon = True
        bell.start()
        try:
            database.execute(
                f"COPY (FROM read_parquet([{names}], union_by_name = true)) TO {_quoted(whole)} (FORMAT parquet)"
            )
        except duckdb.Error as error:
            trouble = str(error).splitlines()[0][:300].replace(str(whole.parent), "")
        finally:
            bell.cancel()
    if trouble:
        raise SourceRefused(
            f"The parquet files of the source cannot be put together: {trouble}",
            code="source_unreadable",
            hint="Bring one of them by its URL to see which it is.",
        )


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"
