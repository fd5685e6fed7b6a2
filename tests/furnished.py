"""A service on a socket with two projects: in one there is one of everything, the other is a stranger to it."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx2
from fastapi import FastAPI
from lives import Emulator, Life, quick, until
from processes import serve
from servers import Postgres, Project, make_project
from sqlalchemy import select

from app.access.secrets import new_secret
from app.access.service import AccessService
from app.adoptions.schemas import AdoptRemoteJob
from app.adoptions.service import AdoptionService
from app.baselines.schemas import BaselineCreate
from app.baselines.service import BaselineService
from app.baselines.steps import BaselineSteps
from app.bootstrap import open_workbench
from app.datasets.engine.changes import Shuffle
from app.datasets.schemas import HuggingFaceSource, UploadCreate
from app.datasets.sources.fetches import FetchService
from app.datasets.transforms import Transform, TransformService
from app.datasets.uploads import UploadService
from app.deployments.comparisons import ComparisonService
from app.deployments.schemas import ComparisonCreate, DeploymentCreate
from app.deployments.service import DeploymentService
from app.deployments.steps import ComparisonSteps, DeploymentSteps
from app.exports.service import ExportService
from app.generation.schemas import GenerationCreate
from app.generation.service import GenerationService
from app.generation.steps import GenerationSteps
from app.kit.ids import new_id
from app.kit.pagination import Page
from app.main import create_app
from app.models.service import ModelService
from app.retrieval.schemas import SearchIndexCreate
from app.retrieval.service import SearchIndexService
from app.settings import Settings
from app.studies.schemas import StudyCreate
from app.studies.service import StudyService
from app.studies.steps import StudySteps
from app.triggers.schemas import TriggerCreate
from app.triggers.service import TriggerService
from app.upkeep.service import UpkeepService
from app.upkeep.steps import SweepSteps
from app.upkeep.tables import Sweep
from app.workbench import Workbench
from worker.reactions import react

DATASET: Final = "travel"
"""Name of the dataset that is there; its version 1 is ready."""
DEPLOYMENT: Final = "furnished"
CONNECTION: Final = "emulator"
TRIGGER: Final = "news"


@dataclass(frozen=True)
class House:
    """A running service and the ids of what the owner has in it."""

    url: str
    app: FastAPI
    bench: Workbench
    settings: Settings
    owner: Project
    stranger: Project
    operator: str
    """Secret of the operator's key."""
    ids: dict[str, str]
    """`project key connection dataset version validation upload transform job model deployment comparison generation baseline search_index study remote_job adoption trigger event
    remote_event`."""

    def ask(self, secret: str | None, timeout: float = 30) -> httpx2.Client:
        """A client of the service with this key."""
        headers = {"Authorization": f"Bearer {secret}"} if secret else {}
        return httpx2.Client(base_url=self.url, headers=headers, timeout=timeout)


@contextmanager
def furnished(postgres: Postgres, emulator_url: str, data_dir: Path, **changes: Any) -> Iterator[House]:
    """Build the house: about as long as one emulated training takes."""
    Emulator(emulator_url).reset()
    operator = new_secret().secret
    with postgres.database() as database_url:
        settings = quick(
            Settings(
                _env_file=None,
                database_url=database_url,
                data_dir=data_dir,
                environment="test",
                **{"key_cache_seconds": 0, "wrong_keys_per_minute": 100_000, **changes},
            ),
            emulator_url,
        )
        with open_workbench(settings) as bench:
            AccessService(bench).ensure_operator_key(operator)
            owner, stranger = make_project(bench, "owner"), make_project(bench, "stranger")
            life = Life.begin(bench, owner.id, emulator_url)
            ids = {"project": owner.id, **_furnish(life)}
            app = create_app(settings, bench)
            with serve(app) as url:
                house = House(url, app, bench, settings, owner, stranger, operator, ids)
                with house.ask(owner.secret) as asked:
                    ids["key"] = asked.get("/v1/api-keys").json()["data"][0]["id"]
                    ids["audit_event"] = asked.get("/v1/audit-events").json()["data"][0]["id"]
                    ids["event"] = asked.get("/v1/events").json()["data"][0]["id"]
                    ids["remote_event"] = asked.get(f"/v1/jobs/{ids['job']}/remote-events").json()["data"][0]["id"]
                yield house


def _furnish(life: Life) -> dict[str, str]:
    """One of everything; their ids."""
    connection = life.connect(name=CONNECTION)
    training, validation = life.example(lines=12)
    job = life.job(connection, training, validation)
    ended = life.drive(job, until_status={"succeeded", "failed", "cancelled"})
    assert ended.status == "succeeded", (ended.error, ended.parked_reason)
    life.tidy(job)
    until(lambda: None if react(life.bench) else True)
    models = ModelService(life.bench).page(life.caller.project_id, Page(limit=50)).rows
    deployment = _deployment(life)
    trigger, _ = TriggerService(life.bench).create(
        life.caller.project_id, TriggerCreate(name=TRIGGER, connection=connection)
    )
    return {
        "connection": connection,
        "dataset": life.version(training).dataset_id,
        "version": life.version(training).id,
        "validation": life.version(validation).id,
        "fetch": _fetch(life),
        "upload": UploadService(life.bench).begin(life.caller.project_id, DATASET, UploadCreate(bytes=5)).id,
        "transform": TransformService(life.bench)
        .begin(life.caller.project_id, training, Transform(operations=[Shuffle()]))
        .id,
        "job": job,
        "results": f"file-{job}",
        "model": next(model.id for model in models if model.kind == "final"),
        "run": _run(life, next(model.id for model in models if model.kind == "final")),
        "deployment": deployment,
        "comparison": _comparison(life, deployment),
        "generation": _generation(life, deployment),
        "baseline": _baseline(life, deployment),
        "search_index": _search_index(life),
        "study": _study(life, training, validation),
        **_adoption(life),
        "stray": _stray(life, connection, life.version(training).id),
        "trigger": trigger.id,
    }


def _fetch(life: Life) -> str:
    """One that never comes, given up."""
    fetches, project = FetchService(life.bench), life.caller.project_id
    source = HuggingFaceSource(type="huggingface", dataset="acme/travel")
    begun = fetches.begin(project, DATASET, source, filename=None, model=None)
    fetches.cancel(project, DATASET, begun.id)
    return begun.id


def _deployment(life: Life) -> str:
    deployments, steps = DeploymentService(life.bench), DeploymentSteps(life.bench)
    wanted = DeploymentCreate(connection=CONNECTION, model="gpt-4.1-mini", name=DEPLOYMENT, ttl_seconds=36_000)
    made = deployments.create(life.caller, wanted)

    def ready() -> bool | None:
        steps.advance(made.id)
        return deployments.get(life.caller.project_id, made.id).status == "ready" or None

    until(ready)
    return made.id


def _comparison(life: Life, deployment: str) -> str:
    comparisons, steps = ComparisonService(life.bench), ComparisonSteps(life.bench)
    wanted = ComparisonCreate(candidates=[{"deployment": deployment}], prompts=["Where is Kyoto?"], max_tokens=4)
    made = comparisons.create(life.caller, wanted)

    def answered() -> bool | None:
        steps.advance(made.id)
        return comparisons.get(life.caller.project_id, made.id).status == "succeeded" or None

    until(answered)
    return made.id


def _generation(life: Life, deployment: str) -> str:
    generations, steps = GenerationService(life.bench), GenerationSteps(life.bench)
    pair = {"question": "Where is Kyoto?", "answer": "In the Kansai region of Japan."}
    source = {"type": "paraphrases", "pairs": [pair], "phrasings": 1, "styles": ["formal"]}
    wanted = GenerationCreate.model_validate({"deployment": deployment, "source": source})
    made = generations.create(life.caller, DATASET, wanted)

    def ended() -> bool | None:
        steps.advance(made.id)
        return generations.get(life.caller.project_id, made.id).status != "running" or None

    until(ended)
    return made.id


def _study(life: Life, training: str, validation: str) -> str:
    """One that ended before it began anything, because its key opens nothing."""
    job = {"connection": CONNECTION, "model": "gpt-4.1-mini", "training": training, "validation": validation}
    wanted = {"job": job, "vary": {"n_epochs": [1]}, "budget_usd": "5"}
    made = StudyService(life.bench).create(life.caller, StudyCreate.model_validate(wanted))
    StudySteps(life.bench).advance(made.id)
    assert StudyService(life.bench).get(life.caller.project_id, made.id).status == "failed"
    return made.id


def _run(life: Life, model: str) -> str:
    """The model's own training, brought in again as if it had happened elsewhere."""
    exports = ExportService(life.bench)
    _, pieces = exports.pack_model(life.caller.project_id, model, content=False)
    return exports.bring(life.caller, io.BytesIO(b"".join(pieces))).data[0].id


def _adoption(life: Life) -> dict[str, str]:
    """A job that somebody made in the portal, and its adoption, which nobody has gone on with."""
    planted = {"action": "create_jobs", "count": 1, "status": "cancelled", "metadata": {"team": "web"}}
    (remote_id,) = Emulator(life.emulator_url).post("/portal", planted)["ids"]
    asked = AdoptionService(life.bench).adopt(life.caller, CONNECTION, remote_id, AdoptRemoteJob())
    return {"remote_job": remote_id, "adoption": asked.id}


def _baseline(life: Life, deployment: str) -> str:
    baselines, steps = BaselineService(life.bench), BaselineSteps(life.bench)
    cases = [{"question": "Where is Kyoto?", "reference": "In Kansai."}]
    wanted = BaselineCreate.model_validate({"deployment": deployment, "cases": cases, "max_tokens": 4})
    made = baselines.create(life.caller, wanted)

    def ended() -> bool | None:
        steps.advance(made.id)
        return baselines.get(life.caller.project_id, made.id).status != "running" or None

    until(ended)
    return made.id


def _search_index(life: Life) -> str:
    """One that nobody answers for."""
    new = {
        "name": "handbook",
        "endpoint": life.emulator_url,
        "index": "handbook",
        "auth": "api_key",
        "api_key": "key",
    }
    return SearchIndexService(life.bench).create(life.caller.project_id, SearchIndexCreate.model_validate(new)).id


def _stray(life: Life, connection: str, training: str) -> str:
    """A job with our mark that no row names."""
    mark = {"svc": "kitae", "env": life.bench.policy.environment, "op_key": new_id("job"), "training": training}
    planted = {"action": "create_jobs", "count": 1, "status": "queued", "metadata": mark}
    Emulator(life.emulator_url).post("/portal", planted)
    upkeep = UpkeepService(life.bench)
    upkeep.sweep_now(life.caller.project_id, connection)
    with life.bench.read() as session:
        sweep_id = session.scalars(select(Sweep.id).where(Sweep.connection_id == connection)).one()
    SweepSteps(life.bench).sweep(sweep_id)
    (stray,) = upkeep.page(life.caller.project_id, Page()).rows
    return stray.id
