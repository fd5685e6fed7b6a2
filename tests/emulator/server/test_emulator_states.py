"""A manual clock shows every state of files, jobs and deployments, and nothing happens before its time."""

import openai
import pytest
from emulator_process import Emulator

PACE = {
    "file_processing": 10,
    "validate": 10,
    "queue": 100,
    "start": 50,
    "step": 5,
    "evaluate": 60,
    "provision": 120,
    "warm_up": 300,
    "delete": 20,
}
ARM = "/subscriptions/sub/resourceGroups/rg/providers/Microsoft.CognitiveServices/accounts/acc"
VERSION = {"api-version": "2025-06-01"}


@pytest.fixture
def slow(emulator: Emulator) -> Emulator:
    """An emulator whose clock stands still."""
    emulator.clock("manual")
    emulator.lever("PUT", "pace", PACE)
    return emulator


def _submit(slow: Emulator, workshop):
    client = slow.v1()
    file_id = workshop.upload(client)
    slow.advance(10)
    return client.fine_tuning.jobs.create(
        model="gpt-4.1-mini", training_file=file_id, hyperparameters={"n_epochs": 2}, seed=7
    )


def test_a_file_is_pending_until_its_time_has_come(slow: Emulator, workshop):
    client = slow.v1()
    file_id = workshop.upload(client)
    slow.advance(9)
    assert client.files.retrieve(file_id).status == "pending"
    with pytest.raises(openai.BadRequestError, match="must be 'processed'"):
        client.fine_tuning.jobs.create(model="gpt-4.1-mini", training_file=file_id)
    slow.advance(1)
    assert client.files.retrieve(file_id).status == "processed"


def test_a_file_that_is_no_text_ends_in_error_with_the_place(slow: Emulator, workshop):
    client = slow.v1()
    bad, empty = workshop.upload(client, b'{"a": 1}\n\xff\xfe'), workshop.upload(client, b"\n  \n")
    slow.advance(10)
    file = client.files.retrieve(bad)
    assert file.status == "error"
    assert "not encoded in UTF-8" in file.status_details
    assert client.files.retrieve(empty).status_details == "The file is empty."


def test_a_job_walks_through_its_states_on_time(slow: Emulator, workshop):
    client = slow.v1()
    job_id = _submit(slow, workshop).id
    seen = []
    for seconds in (0, 9.5, 1, 99, 1, 49, 6, 5, 110, 5, 50, 9):
        slow.advance(seconds)
        job = client.fine_tuning.jobs.retrieve(job_id)
        steps = slow.lever("GET", "state")["jobs"][0]["published_steps"]
        seen.append((job.status, steps, job.hyperparameters.batch_size, bool(job.fine_tuned_model)))
    assert seen == [
        ("pending", 0, -1, False),
        ("pending", 0, -1, False),
        ("queued", 0, -1, False),
        ("queued", 0, -1, False),
        ("running", 0, -1, False),
        ("running", 0, -1, False),
        ("running", 1, 1, False),
        ("running", 2, 1, False),
        ("running", 24, 1, False),
        ("running", 24, 1, False),
        ("running", 24, 1, False),
        ("succeeded", 24, 1, True),
    ]
    assert "Job succeeded." in workshop.messages(client, job_id)


def test_job_succeeded_is_said_before_the_model_is_there(slow: Emulator, workshop):
    client = slow.v1()
    job_id = _submit(slow, workshop).id
    slow.advance(10 + 100 + 50 + 24 * 5)
    assert workshop.messages(client, job_id)[-1] == "Job succeeded."
    job = client.fine_tuning.jobs.retrieve(job_id)
    assert (job.status, job.fine_tuned_model) == ("running", None)
    slow.advance(60)
    assert client.fine_tuning.jobs.retrieve(job_id).status == "succeeded"


def test_results_grow_while_the_job_runs_and_never_run_ahead(slow: Emulator, workshop):
    client = slow.v1()
    job_id = _submit(slow, workshop).id
    slow.advance(10 + 100 + 50)
    lengths = []
    for _ in range(5):
        slow.advance(5)
        results = client.fine_tuning.jobs.retrieve(job_id).result_files[0]
        lengths.append(len(client.files.content(results).text.splitlines()) - 1)
    assert lengths == [1, 2, 3, 4, 5]


def test_a_jump_tells_the_same_story_as_small_steps(slow: Emulator, workshop):
    client = slow.v1()
    stories = []
    for hops in (1, 40):
        job_id = _submit(slow, workshop).id
        for _ in range(hops):
            slow.advance(400 / hops)
        job = client.fine_tuning.jobs.retrieve(job_id)
        assert job.status == "succeeded"
        story = [message for message in workshop.messages(client, job_id) if "file-" not in message]
        stories.append((story, client.files.content(job.result_files[0]).text))
    assert stories[0] == stories[1]


def test_pausing_takes_effect_at_the_next_step_and_resuming_goes_on(slow: Emulator, workshop):
    client = slow.v1()
    job_id = _submit(slow, workshop).id
    slow.advance(160)
    with pytest.raises(openai.BadRequestError):
        client.fine_tuning.jobs.pause(job_id)
    slow.advance(15)
    assert client.fine_tuning.jobs.pause(job_id).status == "pausing"
    slow.advance(5)
    assert client.fine_tuning.jobs.retrieve(job_id).status == "paused"
    slow.advance(10_000)
    assert slow.lever("GET", "state")["jobs"][0]["published_steps"] == 3
    assert client.fine_tuning.jobs.resume(job_id).status == "resuming"
    slow.advance(5)
    assert client.fine_tuning.jobs.retrieve(job_id).status == "running"
    slow.advance(21 * 5 + 60)
    assert client.fine_tuning.jobs.retrieve(job_id).status == "succeeded"
    path = f"/openai/fine_tuning/jobs/{job_id}/pause"
    assert slow.http.post(path, params={"api-version": "2024-10-21"}).status_code == 404


def test_a_cancelled_job_keeps_its_checkpoints_and_is_charged_for_what_it_did(slow: Emulator, workshop):
    client = slow.v1()
    job_id = _submit(slow, workshop).id
    slow.advance(10 + 100 + 50 + 13 * 5)
    cancelled = client.fine_tuning.jobs.cancel(job_id)
    assert cancelled.status == "cancelled"
    checkpoints = client.fine_tuning.jobs.checkpoints.list(job_id).data
    assert [checkpoint.step_number for checkpoint in checkpoints] == [12]
    assert checkpoints[0].fine_tuned_model_checkpoint.endswith(":ckpt-step-12")
    whole = _submit(slow, workshop)
    slow.advance(1000)
    tokens = client.fine_tuning.jobs.retrieve(whole.id).trained_tokens
    charged = {line["id"]: line["trained_tokens"] for line in slow.lever("GET", "billing")["jobs"]}
    assert charged[job_id] == round(tokens * 13 / 24)
    with pytest.raises(openai.BadRequestError, match="cannot be cancelled"):
        client.fine_tuning.jobs.cancel(job_id)


def test_a_job_cancelled_in_the_queue_costs_nothing(slow: Emulator, workshop):
    client = slow.v1()
    job_id = _submit(slow, workshop).id
    slow.advance(20)
    client.fine_tuning.jobs.cancel(job_id)
    slow.advance(1000)
    assert client.fine_tuning.jobs.retrieve(job_id).status == "cancelled"
    assert slow.lever("GET", "billing")["total"]["trained_tokens"] == 0


def test_three_jobs_run_at_once_and_the_fourth_waits_for_the_first_to_end(slow: Emulator, workshop):
    client = slow.v1()
    file_id = workshop.upload(client)
    slow.advance(10)
    given = {"model": "gpt-4.1-mini", "training_file": file_id, "hyperparameters": {"n_epochs": 1}}
    jobs = [client.fine_tuning.jobs.create(**given, extra_body={"trainingType": "Standard"}).id for _ in range(4)]
    developer = client.fine_tuning.jobs.create(**given, extra_body={"trainingType": "developerTier"}).id

    def statuses() -> list[str]:
        return [client.fine_tuning.jobs.retrieve(job_id).status for job_id in [*jobs, developer]]

    slow.advance(111)
    assert statuses() == ["running", "running", "running", "queued", "running"]
    slow.advance(50 + 12 * 5 + 60 - 2)
    assert statuses() == ["running", "running", "running", "queued", "running"]
    slow.advance(1)
    assert statuses() == ["succeeded", "succeeded", "succeeded", "running", "succeeded"]


def test_a_deployment_is_created_then_not_ready_then_answers(slow: Emulator):
    body = {
        "sku": {"name": "Standard", "capacity": 1},
        "properties": {"model": {"format": "OpenAI", "name": "gpt-4.1-mini", "version": "2025-04-14"}},
    }
    put = slow.http.put(f"{ARM}/deployments/d", params=VERSION, json=body)
    assert (put.status_code, put.json()["properties"]["provisioningState"]) == (201, "Creating")
    operation = put.headers["azure-asyncoperation"]

    def look() -> tuple[str, str, str]:
        answer = slow.http.post(
            "/openai/v1/chat/completions", json={"model": "d", "messages": [_HELLO], "max_tokens": 3}
        )
        state = slow.http.get(f"{ARM}/deployments/d", params=VERSION).json()["properties"]["provisioningState"]
        word = "answers" if answer.status_code == 200 else answer.json()["error"]["code"]
        return slow.http.get(operation).json()["status"], state, word

    assert look() == ("Running", "Creating", "DeploymentNotFound")
    slow.advance(120)
    assert look() == ("Succeeded", "Succeeded", "DeploymentNotReady")
    slow.advance(300)
    assert look() == ("Succeeded", "Succeeded", "answers")


_HELLO = {"role": "user", "content": "Hello"}


def test_an_account_takes_one_write_at_a_time(slow: Emulator):
    body = {
        "sku": {"name": "Standard", "capacity": 1},
        "properties": {"model": {"format": "OpenAI", "name": "gpt-4.1-mini", "version": "2025-04-14"}},
    }
    assert slow.http.put(f"{ARM}/deployments/a", params=VERSION, json=body).status_code == 201
    for answer in (
        slow.http.put(f"{ARM}/deployments/b", params=VERSION, json=body),
        slow.http.patch(f"{ARM}/deployments/a", params=VERSION, json={"tags": {"x": "y"}}),
        slow.http.delete(f"{ARM}/deployments/a", params=VERSION),
    ):
        assert answer.status_code == 409
        assert answer.json()["error"]["code"] == "RequestConflict"
        assert f"parent resource '{ARM}'" in answer.json()["error"]["message"]
    slow.advance(120)
    assert slow.http.patch(f"{ARM}/deployments/a", params=VERSION, json={"tags": {"x": "y"}}).status_code == 202
    assert slow.http.delete(f"{ARM}/deployments/a", params=VERSION).status_code == 409
    slow.advance(20)
    assert slow.http.get(f"{ARM}/deployments/a", params=VERSION).json()["tags"] == {"x": "y"}
    assert slow.http.delete(f"{ARM}/deployments/a", params=VERSION).status_code == 202
    assert slow.http.put(f"{ARM}/deployments/b", params=VERSION, json=body).status_code == 409
    slow.advance(20)
    assert slow.http.get(f"{ARM}/deployments/a", params=VERSION).status_code == 404
    assert slow.http.delete(f"{ARM}/deployments/a", params=VERSION).status_code == 204


def test_azure_removes_idle_and_developer_deployments_of_tuned_models(emulator: Emulator, workshop):
    client = emulator.v1()
    model = workshop.trained(client).fine_tuned_model
    emulator.deploy("idle", model)
    emulator.deploy("busy", model)
    emulator.deploy("developer", model, "DeveloperTier")
    emulator.deploy("base", "gpt-4.1-mini")
    day = 86_400

    def names() -> list[str]:
        return [line["name"] for line in emulator.lever("GET", "state")["deployments"]]

    emulator.advance(day - 60)
    assert names() == ["idle", "busy", "developer", "base"]
    emulator.advance(120)
    assert names() == ["idle", "busy", "base"]
    emulator.advance(13 * day)
    client.chat.completions.create(model="busy", messages=[{"role": "user", "content": "still here"}], max_tokens=2)
    emulator.advance(day)
    assert names() == ["busy", "base"]
    assert client.fine_tuning.jobs.list().data[0].fine_tuned_model == model
    hours = {line["name"]: line["hosting_hours"] for line in emulator.lever("GET", "billing")["deployments"]}
    assert hours["idle"] == pytest.approx(15 * 24, abs=0.1)


def test_timestamps_follow_the_wall_clock_while_time_is_fast(emulator: Emulator, workshop):
    client = emulator.v1()
    before = client.files.retrieve(workshop.upload(client)).created_at
    emulator.advance(1_000_000)
    after = client.files.retrieve(workshop.upload(client)).created_at
    assert 0 <= after - before < 60


def test_a_real_clock_shows_a_job_at_its_speed(emulator: Emulator, workshop):
    emulator.clock("real", speed=2000)
    client = emulator.v1()
    file_id = workshop.upload(client)
    client.files.wait_for_processing(file_id, poll_interval=0.02)
    job = client.fine_tuning.jobs.create(
        model="gpt-4.1-mini", training_file=file_id, hyperparameters={"n_epochs": 1}
    )
    done = workshop.finish(client, job.id)
    assert done.status == "succeeded"
    assert done.finished_at >= done.created_at
