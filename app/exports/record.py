"""A run as a record: what is known of one training, as documents that any installation can read. Pure.

It knows no table, no storage and no request; `bundle` puts records into an archive, `card` tells them to people.
"""

import hashlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.jobs import analysis

ROLES: Final = ("training", "validation")
RUN: Final = "run.json"
JSON_LINES: Final = (".jsonl",)
Sha256 = str


class RecordRefused(ValueError):
    """The documents are no record; the text says which one and why."""


class DataFacts(BaseModel):
    """One dataset version that the run saw. Its content travels apart, under its hash, or not at all."""

    model_config = ConfigDict(extra="ignore")

    dataset: str = Field(max_length=200)
    number: int = Field(ge=1)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="Of the bytes as they were sent.")
    content_sha256: str | None = Field(pattern=r"^[0-9a-f]{64}$", description="Of the content that was trained on.")
    content_bytes: int | None = Field(default=None, ge=0)
    examples: int | None = Field(default=None, ge=0)
    tokens: int | None = Field(default=None, ge=0)
    labels: dict[str, Any] = Field(default_factory=dict)
    lineage: dict[str, Any] = Field(default_factory=dict)


class RunFacts(BaseModel):
    """`run.json`: what a list, a card and an import need to know."""

    model_config = ConfigDict(extra="ignore")

    origin: Literal["kitae", "openai"]
    id: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,99}$", description="Its name where it was made.")
    name: str = Field(max_length=200)
    status: str = Field(max_length=40)
    base_model: str = Field(max_length=200)
    method: Literal["supervised", "dpo", "reinforcement"]
    training_type: str | None = Field(default=None, max_length=40)
    model: dict[str, Any] | None = None
    """`name`, `remote_name`, `kind`, `step`, `created_at`; null = it left none."""
    job: dict[str, Any] = Field(default_factory=dict)
    hyperparameters: dict[str, Any] = Field(default_factory=dict)
    """Chosen by whoever asked for the run; the platform chose the rest."""
    used_hyperparameters: dict[str, Any] = Field(default_factory=dict)
    """As the platform said that it trained."""
    choices: list[dict[str, Any]] = Field(default_factory=list)
    """Setting, value, who chose it and why."""
    suffix: str | None = Field(default=None, max_length=200)
    seed: int | None = None
    trained_tokens: int | None = Field(default=None, ge=0)
    cost_usd: str | None = Field(default=None, pattern=r"^[0-9]{1,12}(\.[0-9]{1,10})?$")
    created_at: datetime | None = None
    finished_at: datetime | None = None
    data: dict[Literal["training", "validation"], DataFacts | None] = Field(default_factory=dict)
    made_by: str = Field(default="", max_length=100)


@dataclass(frozen=True, slots=True)
class Record:
    """The documents of one run, by name; `run.json` is one of them. They are kept byte by byte."""

    documents: Mapping[str, bytes]

    def facts(self) -> RunFacts:
        """Raises `RecordRefused`."""
        try:
            return RunFacts.model_validate_json(self.documents[RUN])
        except KeyError:
            raise RecordRefused(f"There is no {RUN}.") from None
        except ValidationError as error:
            first = error.errors()[0]
            place = "/".join(str(part) for part in first["loc"])
            raise RecordRefused(f"{RUN}, at {place or 'its top'}: {first['msg']}.") from None

    def json(self, name: str) -> Any:
        """A document's value; None where there is none."""
        found = self.documents.get(name)
        return None if found is None else orjson.loads(found)

    def lines(self, name: str) -> list[Any]:
        """The values of a document of JSON lines."""
        return [orjson.loads(line) for line in self.documents.get(name, b"").splitlines()]

    def check(self) -> RunFacts:
        """The facts of a record whose every document can be read. Raises `RecordRefused`."""
        facts = self.facts()
        for name in sorted(self.documents):
            try:
                if name.endswith(".json"):
                    self.json(name)
                elif name.endswith(".jsonl"):
                    self.lines(name)
            except orjson.JSONDecodeError as error:
                raise RecordRefused(f"{name} cannot be read: {error}.") from None
        return facts

    def digest(self) -> Sha256:
        """Names the record: the same documents have the same."""
        told = {name: hashlib.sha256(content).hexdigest() for name, content in self.documents.items()}
        return hashlib.sha256(document(told)).hexdigest()

    def curve(self) -> analysis.Results:
        """The points of the training, as far as they can be read."""
        return analysis.results_from_events(
            point for point in self.lines("points.jsonl") if isinstance(point, dict) and "step" in point
        )


def document(value: Any) -> bytes:
    """One JSON document, the same bytes for the same value."""
    return orjson.dumps(value, default=_plain, option=orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2) + b"\n"


def lines_of(values: Iterable[Any]) -> bytes:
    """JSON lines, the same bytes for the same values."""
    return b"".join(
        orjson.dumps(value, default=_plain, option=orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE)
        for value in values
    )


def number(value: float | None) -> float | str | None:
    """A measured value as JSON can hold it."""
    if value is None or math.isfinite(value):
        return value
    return "nan" if math.isnan(value) else ("inf" if value > 0 else "-inf")


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return format(value.normalize(), "f") if value else "0"
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def moment(value: datetime | None) -> str | None:
    """A time as it stands in a record."""
    return None if value is None else value.astimezone(UTC).isoformat().replace("+00:00", "Z")
