"""Steps that several commands take alike: name a dataset if need be, upload with a bar."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

from app.cli import words
from app.cli.exits import Exit, Told
from app.cli.waiting import Pauses, checked
from app.client import ApiProblem, Unreachable
from app.datasets.schemas import DatasetCreate

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from app.client import Client
    from app.datasets.schemas import DatasetRead, FetchedSource, FetchRead, VersionRead

IN_PARTS_FROM_BYTES: Final = 16 * 1024 * 1024
"""A smaller file is sent again in a moment; a larger one is worth reading twice, once for its SHA-256."""


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
    """A new version from a file, checked. A large one goes up in parts: the same command goes on after a cut."""
    size = file.stat().st_size
    if size > IN_PARTS_FROM_BYTES:
        version = _in_parts(client, dataset, file, size, model=model, how=how)
        return checked(client, version) if wait else version
    with words.progress(f"uploading {file.name}", total=size, unit="bytes") as draw:
        version = client.datasets.upload(
            dataset, file, model=model, how=how, on_progress=lambda sent, _total: draw(sent, words.megabytes(sent))
        )
    return checked(client, version) if wait else version


def _in_parts(
    client: Client,
    dataset: str,
    file: Path,
    size: int,
    *,
    model: str | None,
    how: Mapping[str, str | None] | None,
) -> VersionRead:
    with ExitStack() as bars:
        reading = bars.enter_context(words.progress(f"reading {file.name}", total=size, unit="bytes"))
        drawn: list[Callable[[float | None, str], None]] = []

        def on_progress(sent: int, _total: int) -> None:
            if not drawn:
                bars.close()
                drawn.append(bars.enter_context(words.progress(f"uploading {file.name}", total=size, unit="bytes")))
            drawn[0](sent, words.megabytes(sent))

        try:
            return client.datasets.upload_in_parts(
                dataset,
                file,
                model=model,
                how=how,
                on_read=lambda read, _total: reading(read, ""),
                on_progress=on_progress,
            )
        except Unreachable as error:
            raise Told(
                str(error), hint="Run the same command again: it goes on where it stopped.", code=Exit.UNREACHABLE
            ) from error


def fetch(
    client: Client,
    dataset: str,
    source: FetchedSource,
    *,
    model: str | None,
    how: Mapping[str, str | None] | None = None,
    create: bool = False,
    wait: bool = True,
) -> FetchRead:
    """A source, brought by a worker; with `wait` until it is here, or will not be.

    Args:
        create: name the dataset if there is none; not for a source that is refused.
    """
    try:
        found = client.datasets.fetch(dataset, source, model=model, how=how)
    except ApiProblem as problem:
        if problem.code != "dataset_not_found" or not create:
            raise
        ensure_dataset(client, dataset)
        found = client.datasets.fetch(dataset, source, model=model, how=how)
    if not wait:
        return found
    pauses = Pauses()
    with words.progress("fetching", total=found.total_bytes, unit="bytes") as draw:
        while found.status == "fetching" and found.parked_reason is None:
            trouble = (found.last_error or {}).get("message")
            told = words.megabytes(found.received_bytes)
            draw(found.received_bytes, f"{told} · trying again: {trouble}" if trouble else told)
            pauses.wait()
            found = client.datasets.get_fetch(found.dataset, found.id)
    return found
