"""What crosses the wire about sweeps, strays and what ends."""

from datetime import date, datetime
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from app.costs.schemas import Usd
from app.deployments.schemas import LIFE_SECONDS_MAX
from app.jobs.schemas import Ref
from app.kit.wire import Count, Moment, RequestModel
from app.upkeep.states import StrayKind, StrayStatus

_STRAY: Final[dict[str, Any]] = {
    "object": "stray",
    "id": "stray_01kz8w7m9pg8d2qz7x0f3s5t9v",
    "kind": "deployment",
    "connection": "con_01kz8q0w5pfxrb7h2m4d9t6c1s",
    "remote_id": "ft-travel-8d1q3m7s",
    "op_key": "dep_01kz8t4h6yf6b0nx5v8d1q3m7s",
    "owner": "dep_01kz8t4h6yf6b0nx5v8d1q3m7s",
    "remote_status": "Succeeded",
    "tags": {
        "svc": "kitae",
        "env": "prod",
        "op_key": "dep_01kz8t4h6yf6b0nx5v8d1q3m7s",
        "project": "prj_01kz8p0c3ndwqa6g1k3b8s5z0r",
        "expires_at": "2026-11-21T10:15:00Z",
    },
    "remote": {"name": "ft-travel-8d1q3m7s"},
    "status": "open",
    "status_changed_at": "2026-11-20T10:40:00Z",
    "note": "No row names this deployment; the database may have been restored to a time before it.",
    "adoptable": True,
    "hourly_usd": "1.7",
    "expires_at": "2026-11-21T10:15:00Z",
    "decided_by": None,
    "parked_reason": None,
    "last_error": None,
    "first_seen_at": "2026-11-20T10:40:00Z",
    "last_seen_at": "2026-11-20T10:50:00Z",
    "updated_at": "2026-11-20T10:50:00Z",
}


class StrayRead(BaseModel):
    """Something at Azure that carries our mark and that no row names."""

    model_config = ConfigDict(json_schema_extra={"examples": [_STRAY]})

    object: Literal["stray"] = "stray"
    id: str
    kind: StrayKind
    connection: str
    remote_id: str = Field(description="Azure's id of a job or file, the name of a deployment.")
    op_key: str = Field(description="Whom its mark names.")
    owner: str = Field(description="The job or deployment that its mark names; of a file the job it was made for.")
    remote_status: str = Field(description="Azure's word when it was last seen.")
    tags: dict[str, Any] = Field(description="Metadata or tags, verbatim.")
    remote: dict[str, Any] = Field(description="Azure's object when it was last seen, verbatim.")
    status: StrayStatus
    status_changed_at: datetime
    note: str = Field(description="Why it is here, or why it went.")
    adoptable: bool = Field(description="Whether `adopt` can make a job or deployment of it.")
    hourly_usd: Usd | None = Field(description="What hosting it costs an hour; null = not known, or no deployment.")
    expires_at: datetime | None = Field(
        description="Of a deployment: the end that stands in its tags. While it is `open` it is torn down then."
    )
    decided_by: str | None = Field(description="The key that adopted, removed or ignored it.")
    parked_reason: str | None = Field(description="Why its removal waits for a person.")
    last_error: dict[str, Any] | None
    first_seen_at: datetime
    last_seen_at: datetime
    updated_at: datetime


class StrayAdopt(RequestModel):
    """What a row of it needs besides what Azure says. An empty object will usually do."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{}, {"training": "travel@3"}, {"ttl_seconds": 86_400}]}
    )

    training: Ref | None = Field(
        default=None, description="Of a job: the dataset version it was trained on, where its metadata names none."
    )
    validation: Ref | None = Field(default=None, description="Of a job: its validation version, likewise.")
    expires_at: Annotated[Moment, Field(description="Of a deployment: when it is deleted.")] | None = None
    ttl_seconds: Annotated[Count, Field(ge=60, le=LIFE_SECONDS_MAX)] | None = Field(
        default=None, description="Of a deployment: its life from now on. Left out: the end in its tags."
    )


class PartCount(BaseModel):
    """Things of one kind on the resource."""

    seen: int
    ours: int = Field(description="With our mark, of whichever project.")
    foreign: int = Field(description="Without it: shown, never touched.")


class StrayCount(BaseModel):
    """What the sweep did with strays."""

    found: int = Field(description="For the first time, or again.")
    removing: int = Field(description="Not wanted by their own rows, so they are taken away.")
    gone: int
    open: int = Field(description="Waiting for a person or for their end, after this sweep.")


class Drift(BaseModel):
    """A row of ours that Azure does not show, or shows otherwise."""

    kind: StrayKind
    id: str = Field(description="The job or deployment.")
    detail: str


class ForeignThing(BaseModel):
    """Something on the resource that is not ours."""

    kind: StrayKind
    remote_id: str


class SweepProblem(BaseModel):
    """What could not be listed; of that part nothing was concluded."""

    part: StrayKind
    code: str
    message: str


class SweepReport(BaseModel):
    """What one sweep found."""

    started_at: datetime
    duration_seconds: float
    complete: bool = Field(description="Whether everything could be listed.")
    jobs: PartCount | None = Field(description="Null when they could not be listed.")
    files: PartCount | None
    deployments: PartCount | None = Field(description="Null also when the connection names no ARM account.")
    strays: StrayCount
    of_other_projects: int = Field(description="Strays that other projects made on this resource; theirs to see.")
    drift: list[Drift] = Field(description="20 at most.")
    foreign: list[ForeignThing] = Field(description="20 at most.")
    problems: list[SweepProblem]


class SweepRead(BaseModel):
    """The comparison of a connection's resource with our rows."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "object": "sweep",
                    "connection": "con_01kz8q0w5pfxrb7h2m4d9t6c1s",
                    "swept_at": "2026-11-20T10:40:01Z",
                    "next_at": "2026-11-20T10:50:12Z",
                    "asked_at": None,
                    "report": {
                        "started_at": "2026-11-20T10:40:00Z",
                        "duration_seconds": 0.812,
                        "complete": True,
                        "jobs": {"seen": 14, "ours": 12, "foreign": 2},
                        "files": {"seen": 3, "ours": 3, "foreign": 0},
                        "deployments": {"seen": 2, "ours": 2, "foreign": 0},
                        "strays": {"found": 1, "removing": 0, "gone": 0, "open": 1},
                        "of_other_projects": 0,
                        "drift": [
                            {
                                "kind": "deployment",
                                "id": "dep_01kz8t4h6yf6b0nx5v8d1q3m7s",
                                "detail": "Changed at Azure: capacity.",
                            }
                        ],
                        "foreign": [{"kind": "job", "remote_id": "ftjob-0a1b2c3d4e5f60718293a4b5c6d7e8f9"}],
                        "problems": [],
                    },
                    "parked_reason": None,
                    "last_error": None,
                }
            ]
        }
    )

    object: Literal["sweep"] = "sweep"
    connection: str
    swept_at: datetime | None = Field(description="When the last one ended; null = there was none yet.")
    next_at: datetime | None = Field(description="When the next one is due.")
    asked_at: datetime | None = Field(description="When a person last asked for one.")
    report: SweepReport | None
    parked_reason: str | None
    last_error: dict[str, Any] | None


_RETRAINING: dict[str, Any] = {
    "successor": "Qwen3-32B",
    "reason": "Of the models with no announced end that are trained supervised, the middle size.",
    "source": "Microsoft Learn, fine-tune-supported-models, 2026-10-06",
    "confidence": "estimate",
    "training": "travel@3",
    "job": {
        "connection": "con_01kz8q0w5pfxrb7h2m4d9t6c1s",
        "model": "Qwen3-32B",
        "method": "supervised",
        "training": "dsv_01kz8p9a6kf8mt3x7q2c5w0d4h",
        "hyperparameters": {"n_epochs": 3},
        "training_type": "GlobalStandard",
        "suffix": "travel",
    },
    "expected_usd": None,
    "high_usd": None,
    "same_tokenizer": False,
}
_RETIREMENT: dict[str, Any] = {
    "object": "retirement",
    "subject_kind": "model",
    "subject": "mdl_01kz8s1d3xe5atm9w4c7g0n2rk",
    "name": "travel",
    "connection": "con_01kz8q0w5pfxrb7h2m4d9t6c1s",
    "base_model": "gpt-4.1-mini-2025-04-14",
    "ends": "training",
    "on": "2027-04-14",
    "days_left": 143,
    "level": "later",
    "message": "From 2027-04-14 on it can no longer be trained anew on the same base model.",
    "origin": "catalogue",
    "source": "Microsoft Learn, model retirement schedule, 2026-07-07",
    "as_of": "2026-07-07",
    "contradicted_by": [],
    "retraining": _RETRAINING,
}


class Retraining(BaseModel):
    """What to train instead, and on what."""

    model_config = ConfigDict(json_schema_extra={"examples": [_RETRAINING]})

    successor: str | None = Field(
        description="A base model; null = none that is trained this way is known to last."
    )
    reason: str
    source: str
    confidence: Literal["verified", "unverified", "estimate"]
    training: str | None = Field(description="The data that it was trained on: `name@number`.")
    job: dict[str, Any] | None = Field(
        description="The same data and settings as `POST /v1/jobs` takes them; with `dry_run` it shows its plan."
    )
    expected_usd: Usd | None = Field(description="Of that training; null = no price is known.")
    high_usd: Usd | None
    same_tokenizer: bool | None = Field(description="False: the same data has another number of tokens there.")


class Retirement(BaseModel):
    """Something that ends for a model or a deployment."""

    model_config = ConfigDict(json_schema_extra={"examples": [_RETIREMENT]})

    object: Literal["retirement"] = "retirement"
    subject_kind: str = Field(description="`model` or `deployment`; others may come.")
    subject: str
    name: str
    connection: str
    base_model: str
    ends: Literal["training", "base_inference", "tuned_inference"]
    on: date
    days_left: int
    level: Literal["ended", "7 days", "30 days", "90 days", "later"]
    message: str
    origin: Literal["catalogue", "arm"]
    source: str
    as_of: str
    contradicted_by: list[dict[str, Any]] = Field(description="Other days, and who names them.")
    retraining: Retraining | None = Field(description="Null for what is no fine-tuned model.")


class RetirementList(BaseModel):
    """What ends, the soonest first."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"object": "list", "data": [_RETIREMENT]}]})

    object: Literal["list"] = "list"
    data: list[Retirement]
