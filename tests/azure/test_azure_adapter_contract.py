"""One model's whole life through the adapters, in both URL forms, against a server that speaks Azure's wire.

By default that server is the emulator. With `--azure` the same tests run against the resource in KITAE_TEST_AZURE_*
(see docs/guides/emulator.md); what costs money needs `--azure-spend` too. What the wire itself promises, without our
adapter, is test_azure_wire_contract.py.
"""

import contextlib
import io
import json
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

import httpx2
import pytest

from app.azure.adapter import AzureClients, azure_guard
from app.azure.data_plane import OpenAIDataPlane
from app.azure.port import (
    ApiStyle,
    AuthKind,
    AzureTarget,
    ChatAnswer,
    NewRemoteDeployment,
    NewRemoteJob,
    NotThere,
    OutcomeUnknown,
    Refused,
    RemoteDeployment,
    RemoteFile,
    RemoteJob,
    Throttled,
    Unavailable,
)

ENV = "KITAE_TEST_AZURE_"
NEEDED = ("ENDPOINT", "SUBSCRIPTION_ID", "RESOURCE_GROUP", "ACCOUNT", "REGION")
T = TypeVar("T")


def env(name: str, default: str | None = None) -> str | None:
    return os.environ.get(ENV + name, default)


@dataclass(frozen=True)
class Resource:
    """A resource to test against, with how long it may take."""

    target: AzureTarget
    azure: AzureClients
    model: str
    training_type: str
    sku: str
    patience_seconds: float
    every_seconds: float
    spend: bool
    is_emulated: bool

    @property
    def data(self):
        return self.azure.data_plane(self.target)

    @property
    def control(self):
        return self.azure.control_plane(self.target)

    def until(self, what: str, look: Callable[[], T | None]) -> T:
        """Looks again and again until there is something to see."""
        deadline, tick = time.monotonic() + self.patience_seconds, threading.Event()
        while time.monotonic() < deadline:
            try:
                found = look()
            except (Unavailable, Throttled):
                found = None
            if found is not None:
                return found
            tick.wait(self.every_seconds)
        pytest.fail(f"{what} did not come about in {self.patience_seconds:g} s")


@pytest.fixture(scope="module", params=list(ApiStyle))
def resource(request: pytest.FixtureRequest) -> Iterator[Resource]:
    style: ApiStyle = request.param
    if request.config.getoption("--azure", default=False):
        missing = [ENV + name for name in NEEDED if not env(name)]
        if missing:
            pytest.skip(f"--azure needs {', '.join(missing)}; see docs/guides/emulator.md")
        real = Resource(
            target=AzureTarget(
                connection_id="con_test",
                endpoint=str(env("ENDPOINT")),
                api_style=style,
                api_version=env("API_VERSION", "2025-04-01-preview") if style is ApiStyle.DATED else None,
                auth=AuthKind.API_KEY if env("KEY") else AuthKind.ENTRA,
                api_key=env("KEY"),
                subscription_id=env("SUBSCRIPTION_ID"),
                resource_group=env("RESOURCE_GROUP"),
                account=env("ACCOUNT"),
                region=env("REGION"),
                arm_endpoint=str(env("ARM_ENDPOINT", "https://management.azure.com")),
                arm_token=env("ARM_TOKEN"),
            ),
            azure=AzureClients(azure_guard(filter(None, (env("ALLOWED_ORIGIN"),)))),
            model=str(env("MODEL", "gpt-4.1-nano-2025-04-14")),
            training_type=str(env("TRAINING_TYPE", "developerTier")),
            sku=str(env("SKU", "DeveloperTier")),
            patience_seconds=float(str(env("PATIENCE_SECONDS", "14400"))),
            every_seconds=15,
            spend=bool(request.config.getoption("--azure-spend")),
            is_emulated=False,
        )
    else:
        origin = request.getfixturevalue("emulator_url")
        real = Resource(
            target=AzureTarget(
                connection_id="con_test",
                endpoint=origin,
                api_style=style,
                api_version="2025-04-01-preview" if style is ApiStyle.DATED else None,
                auth=AuthKind.API_KEY,
                api_key="any-key",
                arm_endpoint=origin,
                arm_token="any-token",
                subscription_id="00000000-0000-0000-0000-000000000001",
                resource_group="rg",
                account="acct",
                region="swedencentral",
            ),
            azure=AzureClients(azure_guard([origin])),
            model="gpt-4.1-nano-2025-04-14",
            training_type="developerTier",
            sku="DeveloperTier",
            patience_seconds=90,
            every_seconds=0.1,
            spend=True,
            is_emulated=True,
        )
    yield real
    real.azure.close()


@pytest.fixture
def mark() -> str:
    """What tells this run's objects from everybody else's."""
    return f"kt{uuid.uuid4().hex[:10]}"


def examples(count: int, first: int = 0) -> bytes:
    lines = (
        {
            "messages": [
                {"role": "system", "content": "You are a terse travel companion."},
                {"role": "user", "content": f"Which town is number {number} on the coast road?"},
                {"role": "assistant", "content": f"Number {number} is Port {chr(65 + number % 26)}."},
            ]
        }
        for number in range(first, first + count)
    )
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


def uploaded(resource: Resource, name: str, content: bytes) -> RemoteFile:
    made = resource.data.upload_file(filename=name, content=io.BytesIO(content), purpose="fine-tune")
    assert made.status in {"pending", "running", "processed"}

    def processed() -> RemoteFile | None:
        seen = resource.data.get_file(made.remote_id)
        assert seen.status != "error", seen.raw
        return seen if seen.status == "processed" else None

    return resource.until("the file's processing", processed)


def new_job(resource: Resource, mark: str, training: str, validation: str | None) -> NewRemoteJob:
    return NewRemoteJob(
        model=resource.model,
        training_file=training,
        validation_file=validation,
        method="supervised",
        hyperparameters={"n_epochs": 1},
        training_type=resource.training_type,
        suffix=mark,
        seed=4711,
        metadata={"op_key": mark},
    )


def needs_money(resource: Resource) -> None:
    if not resource.spend:
        pytest.skip("it costs money: give --azure-spend")


def test_models_can_be_listed_and_a_wrong_file_is_not_there(resource: Resource):
    assert any(model.get("id") for model in resource.data.list_models())
    with pytest.raises(NotThere):
        resource.data.get_file("file-00000000000000000000000000000000")
    resource.data.delete_file("file-00000000000000000000000000000000")
    with pytest.raises(NotThere):
        resource.data.get_job("ftjob-00000000000000000000000000000000")


def test_a_file_is_uploaded_found_read_back_and_deleted(resource: Resource, mark: str):
    content = examples(10)
    made = uploaded(resource, f"{mark}.jsonl", content)
    assert made.filename == f"{mark}.jsonl"
    assert made.bytes == len(content)
    listed = [found for found in resource.data.list_files(purpose="fine-tune") if found.remote_id == made.remote_id]
    assert [found.filename for found in listed] == [f"{mark}.jsonl"]
    assert resource.data.file_content(made.remote_id, max_bytes=1_000_000) == content
    with pytest.raises(Refused):
        resource.data.file_content(made.remote_id, max_bytes=10)
    resource.data.delete_file(made.remote_id)
    with pytest.raises(NotThere):
        resource.until("the deletion", lambda: resource.data.get_file(made.remote_id) and None)
    resource.data.delete_file(made.remote_id)


def test_a_large_file_arrives_whole_by_its_parts(resource: Resource, mark: str):
    content = examples(200)
    in_parts = OpenAIDataPlane(
        resource.target,
        guard=resource.azure._guard,
        tokens=resource.data._tokens,
        part_bytes=10_000,
        parts_from_bytes=20_000,
    )
    made = in_parts.upload_file(filename=f"{mark}.jsonl", content=io.BytesIO(content), purpose="fine-tune")
    assert resource.data.file_content(made.remote_id, max_bytes=1_000_000) == content
    resource.data.delete_file(made.remote_id)
    in_parts.close()


def test_a_job_can_be_found_again_by_what_we_put_on_it_and_cancelled(resource: Resource, mark: str):
    needs_money(resource)
    training = uploaded(resource, f"{mark}.jsonl", examples(12))
    made = resource.data.create_job(new_job(resource, mark, training.remote_id, None))
    found = [
        job for page in resource.data.list_jobs(page_size=5) for job in page if job.remote_id == made.remote_id
    ]
    assert len(found) == 1, "exactly one, over all pages"
    assert (found[0].training_file, found[0].seed, found[0].suffix) == (training.remote_id, 4711, mark)
    if resource.target.api_style is ApiStyle.V1:
        assert found[0].metadata["op_key"] == mark
    with contextlib.suppress(Refused):  # it may already be over
        assert resource.data.cancel_job(made.remote_id).remote_id == made.remote_id

    def over() -> RemoteJob | None:
        job = resource.data.get_job(made.remote_id)
        return job if job.status in {"succeeded", "failed", "cancelled"} else None

    resource.until("the end of the job", over)
    resource.data.delete_file(training.remote_id)


def trained(resource: Resource, mark: str, files: tuple[RemoteFile, RemoteFile]) -> RemoteJob:
    started = resource.data.create_job(new_job(resource, mark, files[0].remote_id, files[1].remote_id))
    assert started.remote_id.startswith("ftjob-")

    def succeeded() -> RemoteJob | None:
        job = resource.data.get_job(started.remote_id)
        assert job.status not in {"failed", "cancelled"}, job.raw
        return job if job.status == "succeeded" and job.fine_tuned_model else None

    return resource.until("the training", succeeded)


def everything_of_the_job_can_be_read(resource: Resource, job: RemoteJob) -> None:
    data = resource.data
    events = data.job_events(job.remote_id, known=frozenset())
    assert [event.created_at for event in events] == sorted(event.created_at for event in events)
    assert any(event.message == "Job succeeded." for event in events)
    assert data.job_events(job.remote_id, known=frozenset(event.remote_id for event in events)) == []
    newer = data.job_events(job.remote_id, known=frozenset(event.remote_id for event in events[:-1]))
    assert events[-1] in newer

    checkpoints = data.checkpoints(job.remote_id)
    assert [checkpoint.step for checkpoint in checkpoints] == sorted(checkpoint.step for checkpoint in checkpoints)
    assert checkpoints[-1].model_name == job.fine_tuned_model
    assert checkpoints[-1].metrics["train_loss"] >= 0
    [results] = job.result_files
    assert data.file_content(results, max_bytes=10_000_000).startswith(b"step,train_loss")
    assert any(model.get("id") == job.fine_tuned_model for model in data.list_models())


def deployed(resource: Resource, mark: str, job: RemoteJob) -> None:
    control, model = resource.control, str(job.fine_tuned_model)
    assert control.get_deployment(mark) is None
    put = control.put_deployment(
        NewRemoteDeployment(
            name=mark,
            model_format="OpenAI",
            model_name=model,
            model_version="1",
            sku_name=resource.sku,
            capacity=10,
            tags={"op_key": mark},
        )
    )
    assert (put.name, put.model_name, put.sku_name, put.capacity) == (mark, model, resource.sku, 10)
    if put.operation_url is not None:
        assert control.get_operation(put.operation_url).status in {
            "InProgress",
            "Succeeded",
            "Accepted",
            "Creating",
        }

    def ready() -> RemoteDeployment | None:
        found = control.get_deployment(mark)
        return found if found and found.provisioning_state == "Succeeded" else None

    assert resource.until("the deployment", ready).tags == {"op_key": mark}
    assert mark in [found.name for found in control.list_deployments()]
    assert control.list_models()
    assert all(usage.limit >= 0 for usage in control.list_usages())


def it_answers(resource: Resource, mark: str) -> None:
    question = [
        {"role": "system", "content": "You are a terse travel companion."},
        {"role": "user", "content": "Which town is number 3 on the coast road?"},
    ]

    def answer() -> ChatAnswer | None:
        try:
            return resource.data.chat(deployment=mark, messages=question, max_tokens=40, temperature=0)
        except NotThere:
            return None  # ARM is done, the data plane is not

    said = resource.until("the first answer", answer)
    assert said.text
    assert said.prompt_tokens > 0
    assert said.completion_tokens > 0
    with resource.data.chat_stream(deployment=mark, messages=question, max_tokens=40, temperature=0) as chunks:
        streamed = [choice for chunk in chunks for choice in chunk.get("choices", [])]
    assert "".join((choice.get("delta") or {}).get("content") or "" for choice in streamed)


def it_can_be_changed(resource: Resource, mark: str) -> None:
    tags = {"op_key": mark, "x": "y"}
    changed = resource.control.update_deployment(mark, sku_name=resource.sku, capacity=12, tags=tags)
    assert changed.name == mark

    def larger() -> RemoteDeployment | None:
        found = resource.control.get_deployment(mark)
        return found if found and found.capacity == 12 else None

    assert resource.until("the change", larger).tags == tags


def test_a_model_lives_from_its_data_to_its_answers_and_leaves_nothing(resource: Resource, mark: str):
    needs_money(resource)
    files = (
        uploaded(resource, f"{mark}-train.jsonl", examples(20)),
        uploaded(resource, f"{mark}-valid.jsonl", examples(10, first=20)),
    )
    job = trained(resource, mark, files)
    assert job.model == resource.model
    assert job.trained_tokens
    assert job.created_at
    assert job.finished_at
    assert job.created_at <= job.finished_at
    assert mark in str(job.fine_tuned_model)
    everything_of_the_job_can_be_read(resource, job)
    try:
        deployed(resource, mark, job)
        it_answers(resource, mark)
        it_can_be_changed(resource, mark)
    finally:
        resource.control.delete_deployment(mark)
    resource.until("the deletion", lambda: True if resource.control.get_deployment(mark) is None else None)
    resource.control.delete_deployment(mark)
    for file in files:
        resource.data.delete_file(file.remote_id)


def test_a_wrong_deployment_and_a_wrong_model_are_told_apart(resource: Resource):
    with pytest.raises(NotThere) as caught:
        resource.data.chat(
            deployment="no-such-deployment", messages=[{"role": "user", "content": "Hi"}], max_tokens=1
        )
    assert caught.value.code == "azure_deployment_not_found"
    made = replace(
        new_job(resource, "ktnone", "file-00000000000000000000000000000000", None), model="not-a-model-at-all"
    )
    with pytest.raises(Refused) as refused:
        resource.data.create_job(made)
    assert refused.value.remote


@pytest.mark.fault
@pytest.mark.parametrize(
    ("fault", "made"),
    [
        ({"drop_before": True}, 0),
        ({"drop_after": True}, 1),
        ({"garbage": True}, 1),
        ({"truncate_bytes": 40}, 1),
        ({"status": 500}, 0),
        ({"status": 409, "code": "conflict"}, 0),
    ],
    ids=str,
)
def test_a_job_whose_answer_was_lost_is_in_the_list_exactly_when_it_was_made(
    resource: Resource, mark: str, emulator_url: str, fault: dict[str, object], made: int
):
    if not resource.is_emulated:
        pytest.skip("only the emulator can be told to fail")
    training = uploaded(resource, f"{mark}.jsonl", examples(10))
    rule = {"match": {"operation": "jobs.create"}, "when": {"first_n": 1}, "do": fault}
    with httpx2.Client(base_url=emulator_url, trust_env=False) as levers:
        levers.put("/_emulator/faults", json=[rule]).raise_for_status()
        try:
            with pytest.raises(OutcomeUnknown):
                resource.data.create_job(new_job(resource, mark, training.remote_id, None))
            assert [shown["seen"] for shown in levers.get("/_emulator/faults").json()] == [1], "sent once"
        finally:
            levers.delete("/_emulator/faults").raise_for_status()
    ours = [
        job
        for page in resource.data.list_jobs()
        for job in page
        if (job.training_file, job.suffix, job.seed) == (training.remote_id, mark, 4711)
    ]
    assert len(ours) == made
