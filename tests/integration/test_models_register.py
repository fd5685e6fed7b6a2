"""Models as a finished job leaves them, and the catalogue, against the emulator."""

import threading
from collections.abc import Iterator

import pytest
from lives import Life, quick
from servers import make_project
from starlette.testclient import TestClient

from app.bootstrap import open_workbench
from app.datasets.engine.changes import Drop
from app.datasets.service import DatasetService
from app.datasets.transforms import Transform, TransformService
from app.events.log import read_page
from app.jobs.states import JOB_LAW
from app.jobs.tables import Job
from app.kit.errors import NotFound
from app.kit.pagination import Page
from app.models.service import ModelService
from app.models.tables import Model
from app.settings import Settings
from app.workbench import Workbench

EVERYTHING = Page(limit=200, descending=False)


@pytest.fixture
def bench(settings: Settings, emulator_url: str) -> Iterator[Workbench]:
    with open_workbench(quick(settings, emulator_url)) as opened:
        yield opened


@pytest.fixture
def succeeded(life: Life) -> Job:
    """A training of a version that was made from another one, with checkpoints."""
    life.example(lines=14)
    transforms = TransformService(life.bench)
    change = transforms.begin(life.caller.project_id, "travel@1", Transform(operations=[Drop(lines=((1, 2),))]))
    transforms.advance(change.id)
    DatasetService(life.bench).check(life.version("travel@2").id)
    job_id = life.job("emulator", "travel@2", "travel-validation@1", suffix="travel")
    job = life.drive(job_id, until_status=set(JOB_LAW.terminal))
    assert job.status == "succeeded", job.error
    return job


def test_a_job_leaves_its_final_model_and_its_other_checkpoints_and_each_only_once(
    life: Life, succeeded: Job
) -> None:
    service = ModelService(life.bench)
    service.register(succeeded.id)
    service.register(succeeded.id)

    models = service.page(life.caller.project_id, EVERYTHING, job=succeeded.id).rows
    final = [model for model in models if model.kind == "final"]
    assert [(model.name, model.remote_name) for model in final] == [("travel", succeeded.fine_tuned_model)]
    checkpoints = [model for model in models if model.kind == "checkpoint"]
    assert checkpoints
    assert len({model.remote_name for model in models}) == len(models)
    for model in checkpoints:
        assert model.name == f"travel-step-{model.step}"
        assert model.remote_name.endswith(f":ckpt-step-{model.step}")
    with life.bench.read() as session:
        told = read_page(
            session,
            project_id=life.caller.project_id,
            subject_id=None,
            event_type="model.registered",
            after=None,
            before=None,
            descending=False,
            limit=50,
        )
    assert len(told) == len(models)


def test_registering_at_the_same_time_from_many_threads_registers_once(life: Life, succeeded: Job) -> None:
    threads = [threading.Thread(target=ModelService(life.bench).register, args=[succeeded.id]) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    models = ModelService(life.bench).page(life.caller.project_id, EVERYTHING).rows
    assert len({model.remote_name for model in models}) == len(models) >= 2
    assert {model.name for model in models if model.kind == "final"} == {"travel"}


def test_a_name_that_is_taken_gets_a_number(life: Life, succeeded: Job) -> None:
    with life.bench.begin() as work:
        work.session.add(
            Model(
                id="mdl_first",
                project_id=life.caller.project_id,
                connection_id=succeeded.connection_id,
                job_id=succeeded.id,
                name="travel",
                remote_name="another",
                base_model=succeeded.base_model,
                kind="final",
            )
        )
    service = ModelService(life.bench)
    service.register(succeeded.id)
    found = service.get(life.caller.project_id, "travel-2")
    assert found.remote_name == succeeded.fine_tuned_model
    assert service.get(life.caller.project_id, "travel").id == "mdl_first"


def test_a_model_tells_its_job_its_data_and_what_that_was_made_from(life: Life, succeeded: Job) -> None:
    service = ModelService(life.bench)
    service.register(succeeded.id)
    lineage = service.read(life.caller.project_id, "travel").lineage
    assert lineage.job == succeeded.id
    assert lineage.trained_tokens == succeeded.trained_tokens
    assert lineage.training.ref == "travel@2"
    version = life.version("travel@2")
    assert (lineage.training.sha256, lineage.training.examples) == (version.sha256, 12)
    (parent,) = lineage.training.parents
    assert (parent.ref, parent.version, parent.parents) == ("travel@1", life.version("travel@1").id, [])
    assert lineage.validation is not None
    assert lineage.validation.ref == "travel-validation@1"
    assert "full_valid_loss" in lineage.metrics


def test_a_job_that_has_not_succeeded_leaves_nothing(life: Life) -> None:
    training, _ = life.example(lines=12)
    job_id = life.job("emulator", training)
    ModelService(life.bench).register(job_id)
    ModelService(life.bench).register("job_unknown")
    assert ModelService(life.bench).page(life.caller.project_id, EVERYTHING).rows == []


def test_a_stranger_sees_no_model(life: Life, succeeded: Job) -> None:
    service = ModelService(life.bench)
    service.register(succeeded.id)
    stranger = make_project(life.bench, "stranger").id
    assert service.page(stranger, EVERYTHING).rows == []
    for ref in ("travel", service.get(life.caller.project_id, "travel").id):
        with pytest.raises(NotFound):
            service.read(stranger, ref)


# ── over HTTP ───────────────────────────────────────────────────────────────


def test_the_catalogue_is_readable_with_prices_and_their_sources(client: TestClient) -> None:
    listed = client.get("/v1/base-models")
    assert listed.status_code == 200
    by_id = {item["id"]: item for item in listed.json()["data"]}
    mini = by_id["gpt-4.1-mini-2025-04-14"]
    assert mini["tokenizer"] == "o200k_base"
    assert "supervised" in mini["methods"]
    hosting = next(price for price in mini["prices"] if price["kind"] == "hosting" and price["tier"] == "Standard")
    assert hosting["usd"] == "1.7000"
    assert hosting["source"]
    assert hosting["confidence"] in {"verified", "unverified", "estimate"}
    one = client.get("/v1/base-models/gpt-4.1-mini")
    assert one.json() == mini
    again = client.get("/v1/base-models/gpt-4.1-mini", headers={"If-None-Match": one.headers["ETag"]})
    assert again.status_code == 304
    missing = client.get("/v1/base-models/gpt-99")
    assert (missing.status_code, missing.json()["code"]) == (404, "base_model_not_found")


def test_models_are_listed_by_job_and_read_by_name_over_http(
    client: TestClient, stranger: TestClient, life: Life, succeeded: Job
) -> None:
    ModelService(life.bench).register(succeeded.id)
    listed = client.get("/v1/models", params={"job": succeeded.id, "order": "asc", "limit": 1})
    assert listed.json()["has_more"]
    assert listed.headers["Link"].endswith('rel="next"')
    shown = client.get("/v1/models/travel").json()
    assert shown["remote_name"] == succeeded.fine_tuned_model
    assert shown["lineage"]["training"]["ref"] == "travel@2"
    assert client.get("/v1/models", params={"job": "job_other"}).json()["data"] == []
    assert stranger.get("/v1/models").json()["data"] == []
    assert stranger.get("/v1/models/travel").status_code == 404
