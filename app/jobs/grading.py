"""What has to be looked up about a grader before a plan can judge it: every row, and Azure's own word."""

from collections import Counter
from typing import Any

import orjson

from app.azure.port import AzureError, GraderVerdict
from app.connections.service import ConnectionService, Traffic
from app.datasets.service import DatasetService
from app.datasets.tables import DatasetVersion
from app.graders import Grader, missing, needs
from app.jobs.methods import LINES_SHOWN, RowsLacking
from app.kit.errors import KitaeError


def rows_lacking(
    datasets: DatasetService, project_id: str, version: DatasetVersion, *, pointer: str, grader: Grader
) -> RowsLacking | None:
    """Which rows of a version lack what the grader reads: all are read, one at a time.

    Returns:
        None when the version has no content yet, or was refused by its own check.
    """
    if version.content_sha256 is None:
        return None
    paths = needs(grader)
    rows = lacking = 0
    fields: Counter[str] = Counter()
    lines: list[int] = []
    with datasets.content(project_id, version.id) as (_, file):
        for number, line in enumerate(file, start=1):
            row = _row(line)
            if row is None:
                continue
            rows += 1
            absent = missing(paths, row)
            if absent:
                lacking += 1
                fields.update(absent)
                if len(lines) < LINES_SHOWN:
                    lines.append(number)
    described = datasets.describe(version)
    return RowsLacking(
        ref=f"{described.dataset_name}@{version.number}",
        pointer=pointer,
        rows=rows,
        lacking=lacking,
        fields=dict(fields.most_common()),
        lines=lines,
    )


def _row(line: bytes) -> dict[str, Any] | None:
    """The row of a line; None for a blank or broken one, of which the version's own report tells."""
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return row if isinstance(row, dict) else None


def azure_says(
    connections: ConnectionService, connection_id: str, grader: dict[str, Any]
) -> tuple[GraderVerdict | None, str | None]:
    """Azure's verdict on a grader; or None, and why it gave none."""
    try:
        with connections.data(connections.target_of(connection_id), Traffic.READ) as azure:
            return azure.validate_grader(grader), None
    except AzureError as error:
        return None, error.message
    except KitaeError as error:  # the connection is not ready to be used
        return None, error.detail
