"""Where a training can run: what stands in its way on one resource, and which others would take it.

Pure: values in, obstacles in words out. It knows neither rooms nor tables and asks nobody. What two sources agree
on, or Azure itself says, is an error; what only the catalogue says is a warning, because its lists age.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Final, Literal

from app.azure.catalogue.catalogue import BaseModel, Limits
from app.azure.catalogue.live import END_KINDS, Fact, LiveModels, end_of

Verdict = Literal["note", "warning", "error"]
SOON_DAYS: Final = 90
"""From so many days before an end on, a plan speaks of it."""
FRESH: Final = timedelta(minutes=15)
"""How old a count of what is on a resource may be and still refuse a job: files and jobs come and go."""
REGIONS_SHOWN: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What was on a resource when it was last looked through; None = that part could not be listed."""

    files: int | None
    file_bytes: int | None
    """Of the files whose size Azure tells."""
    jobs: int | None
    jobs_running: int | None
    """Standard and Global together, of whoever made them."""
    jobs_running_developer: int | None
    jobs_queued: int | None
    counted_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One resource, as far as it is known."""

    name: str
    """Of its connection."""
    resource: str
    """What two connections to one resource have in common."""
    region: str | None
    live: LiveModels | None = None
    """None = ARM was not asked yet, or cannot be."""
    capacity: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Base model → deployment SKU → what ARM says is left to deploy of its tuned models."""
    counts: Counts | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """What is to be trained, as far as it matters where."""

    base: BaseModel
    method: str
    training_type: str
    files: int
    """That have to be uploaded."""
    file_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Obstacle:
    """Something in the way, in the words of a plan's check."""

    code: str
    verdict: Verdict
    pointer: str
    detail: str
    remedy: str


def obstacles(
    training: Training, here: Place, others: Sequence[Place], *, limits: Limits, now: datetime
) -> list[Obstacle]:
    """What stands in the way of a training on one resource, each with where it could run instead.

    Args:
        others: the project's other resources.
    """
    found = list(_of_place(training, here, limits, now))
    if not found:
        return []
    elsewhere = where_it_could_run(training, here, others, limits=limits, now=now)
    return [
        Obstacle(
            code=item.code,
            verdict=item.verdict,
            pointer=item.pointer,
            detail=item.detail,
            remedy=f"{item.remedy} {elsewhere}".strip() if item.code in _MOVABLE else item.remedy,
        )
        for item in found
    ]


_MOVABLE: Final = frozenset(
    {
        "region-not-listed",
        "model-not-offered",
        "training-ended",
        "files-full",
        "file-bytes-full",
        "jobs-full",
        "queue-full",
        "jobs-running",
    }
)
"""Obstacles of the resource, which another one may not have."""


def where_it_could_run(
    training: Training, here: Place, others: Sequence[Place], *, limits: Limits, now: datetime
) -> str:
    """The project's own connections on which nothing stands in the way; else the regions that are listed."""
    able = [
        place
        for place in others
        if place.resource != here.resource
        and place.region is not None
        and all(item.verdict == "note" or item.code in _OF_TIME for item in _of_place(training, place, limits, now))
    ]
    if able:
        named = ", ".join(f"{place.name!r} ({place.region})" for place in able[:REGIONS_SHOWN])
        return f"It could run on this project's {named}."
    rest = [region for region in sorted(_regions(training)) if region != here.region]
    if rest:
        more = f" and {len(rest) - REGIONS_SHOWN} more" if len(rest) > REGIONS_SHOWN else ""
        listed = ", ".join(rest[:REGIONS_SHOWN]) + more
        return f"{_NOWHERE} {training.training_type} training of it is listed for {listed}."
    return _NOWHERE


_NOWHERE: Final = "No other connection of this project takes it."
_OF_TIME: Final = frozenset({"model-retiring"})


def _of_place(training: Training, place: Place, limits: Limits, now: datetime) -> Iterator[Obstacle]:
    yield from _region(training, place)
    yield from _ends(training, place, now.date())
    if place.counts is not None:
        yield from _files(training, place.counts, limits, now)
        yield from _jobs(training, place.counts, limits, now)
    yield from _capacity(training, place)


def _region(training: Training, place: Place) -> Iterator[Obstacle]:
    base, kind, live = training.base, training.training_type, place.live
    regions = _regions(training)
    listed = not regions or place.region is None or place.region in regions
    absent = live is not None and bool(live.models) and live.of(base) is None
    if absent and live is not None and not listed:
        yield Obstacle(
            code="model-not-offered",
            verdict="error",
            pointer="/connection",
            detail=f"{place.name!r} does not offer {base.id}: ARM did not list it at {_minute(live.read_at)}, "
            f"and {place.region} is none of the regions of {kind} training ({base.source}).",
            remedy="",
        )
    elif absent:
        yield Obstacle(
            code="model-not-offered",
            verdict="warning",
            pointer="/connection",
            detail=f"ARM does not list {base.id} among the models of {place.name!r}.",
            remedy="",
        )
    elif not listed:
        yield Obstacle(
            code="region-not-listed",
            verdict="warning",
            pointer="/connection",
            detail=f"{base.id} is not listed for {kind} training in {place.region} ({base.source}).",
            remedy="",
        )


def _ends(training: Training, place: Place, today: date) -> Iterator[Obstacle]:
    for kind in END_KINDS:
        end = end_of(training.base, kind, place.live)
        if end is None:
            continue
        days = [said.value for said in (end.holds, *end.contradicted_by)]
        if kind == "training" and end.holds.value <= today:
            yield Obstacle(
                code="training-ended" if end.holds.origin == "arm" else "model-retired",
                verdict="error",
                pointer="/model",
                detail=f"Training of {training.base.id} ended on {_in_words(end)}.",
                remedy="Choose a model that is still trained; GET /v1/retirements names successors.",
            )
        elif min(days) - today <= timedelta(days=SOON_DAYS):
            what = kind.replace("_", " ").capitalize()
            verb = "ended" if end.holds.value <= today else "ends"
            yield Obstacle(
                code="model-retiring",
                verdict="warning",
                pointer="/model",
                detail=f"{what} of {training.base.id} {verb} on {_in_words(end)}.",
                remedy="Plan the move to a newer model; such dates have moved before.",
            )


def _files(training: Training, counts: Counts, limits: Limits, now: datetime) -> Iterator[Obstacle]:
    seen = f"(counted {_minute(counts.counted_at)})"
    verdict: Verdict = "error" if now - counts.counted_at <= FRESH else "warning"
    if counts.files is not None and counts.files + training.files > limits.files_per_resource:
        yield Obstacle(
            code="files-full",
            verdict=verdict,
            pointer="/connection",
            detail=f"The resource holds {counts.files} training files {seen} of {limits.files_per_resource}, "
            f"and the job needs {training.files} more.",
            remedy="Delete files there, then have it counted again (POST /v1/connections/{connection}/sweep).",
        )
    total = None if counts.file_bytes is None else counts.file_bytes + training.file_bytes
    if total is not None and total > limits.file_bytes_per_resource:
        yield Obstacle(
            code="file-bytes-full",
            verdict="warning",  # Microsoft also publishes uploads of 8 GB, which the limit would not let in
            pointer="/connection",
            detail=f"The resource holds {counts.file_bytes:,} bytes of training files {seen}; with the job's "
            f"{training.file_bytes:,} more than the {limits.file_bytes_per_resource:,} of Azure's quota page.",
            remedy="Delete files there, then have it counted again (POST /v1/connections/{connection}/sweep).",
        )


def _jobs(training: Training, counts: Counts, limits: Limits, now: datetime) -> Iterator[Obstacle]:
    seen = f"(counted {_minute(counts.counted_at)})"
    verdict: Verdict = "error" if now - counts.counted_at <= FRESH else "warning"
    if counts.jobs is not None and counts.jobs >= limits.jobs_per_resource:
        yield Obstacle(
            code="jobs-full",
            verdict=verdict,
            pointer="/connection",
            detail=f"The resource holds {counts.jobs} jobs {seen}; Azure allows {limits.jobs_per_resource}.",
            remedy="Delete ended jobs there (in the portal), then have it counted again (POST …/sweep).",
        )
    if counts.jobs_queued is not None and counts.jobs_queued >= limits.jobs_queued:
        yield Obstacle(
            code="queue-full",
            verdict=verdict,
            pointer="/connection",
            detail=f"{counts.jobs_queued} jobs wait on the resource {seen}, as many as Azure lets wait.",
            remedy="Wait until some have begun, or cancel some.",
        )
    developer = training.training_type == "developerTier"
    running = counts.jobs_running_developer if developer else counts.jobs_running
    most = limits.jobs_running_developer if developer else limits.jobs_running
    if running is not None and running >= most:
        yield Obstacle(
            code="jobs-running",
            verdict="note",
            pointer="/connection",
            detail=f"{running} jobs run on the resource {seen}, and {most} run at once: this one will wait.",
            remedy="",
        )


def _capacity(training: Training, place: Place) -> Iterator[Obstacle]:
    """A tuned model that nothing can be deployed of is trained all the same: a note, not a refusal.

    Source: ARM `Model Capacities - List`: `availableFinetuneCapacity` is what is left to deploy of fine-tunes.
    """
    left = place.capacity.get(training.base.id)
    if left and not any(left.values()):
        yield Obstacle(
            code="no-tuned-capacity",
            verdict="warning",
            pointer="/connection",
            detail=f"ARM says that no capacity is left in {place.region or place.name!r} to deploy a tuned "
            f"{training.base.id} ({', '.join(sorted(left))}).",
            remedy="Ask for quota before the training has ended, or deploy it as DeveloperTier where offered.",
        )


def _regions(training: Training) -> Sequence[str]:
    return next((found for kind, found in training.base.regions.items() if kind == training.training_type), ())


def _in_words(end: Fact) -> str:
    """The day that holds with its source, and what others say."""
    others = "; ".join(f"{said.value} by {said.source}" for said in end.contradicted_by)
    return f"{end.holds.value} ({end.holds.source}{'; but ' + others if others else ''})"


def _minute(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
