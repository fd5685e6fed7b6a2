"""Steps that several commands take alike: name a dataset if need be, upload with a bar."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.cli import words
from app.cli.waiting import checked
from app.client import ApiProblem
from app.datasets.schemas import DatasetCreate

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from app.client import Client
    from app.datasets.schemas import DatasetRead, VersionRead


def ensure_dataset(client: Client, name: str) -> DatasetRead:
    """The dataset of this name, made if there is none."""
    try:
        return client.datasets.get(name)
    except ApiProblem as problem:
        if problem.code != "dataset_not_found":
            raise
        return client.datasets.create(DatasetCreate(name=name))


def upload(
    client: Client,
    dataset: str,
    file: Path,
    *,
    model: str | None,
    how: Mapping[str, str | None] | None = None,
    wait: bool = True,
) -> VersionRead:
    """A new version from a file, checked."""
    size = file.stat().st_size
    with words.progress(f"uploading {file.name}", total=size, unit="bytes") as draw:
        version = client.datasets.upload(
            dataset, file, model=model, how=how, on_progress=lambda sent, _total: draw(sent, words.megabytes(sent))
        )
    return checked(client, version) if wait else version
