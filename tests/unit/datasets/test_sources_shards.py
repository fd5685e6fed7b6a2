"""Parquet files made one."""

from pathlib import Path

import duckdb
import pytest

from app.datasets.sources.places import SourceRefused
from app.datasets.sources.shards import join_parquet


def written(path: Path, rows: int) -> Path:
    with duckdb.connect() as database:
        database.sql("SELECT 1 AS a FROM range(?)", params=[rows]).write_parquet(str(path))
    return path


def test_the_rows_of_all_files_are_there(tmp_path: Path) -> None:
    parts = [written(tmp_path / "0.parquet", 3), written(tmp_path / "1.parquet", 4)]
    join_parquet(parts, tmp_path / "whole.parquet")
    with duckdb.connect() as database:
        assert database.read_parquet(str(tmp_path / "whole.parquet")).fetchall() == [(1,)] * 7


def test_more_rows_than_are_written_in_time_are_refused(tmp_path: Path) -> None:
    part = written(tmp_path / "0.parquet", 2_000_000)
    assert part.stat().st_size < 1_000_000
    with pytest.raises(SourceRefused, match="cannot be put together") as refused:
        join_parquet([part] * 400, tmp_path / "whole.parquet", seconds=0.2)
    assert refused.value.code == "source_unreadable"
