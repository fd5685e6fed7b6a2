"""The whole life of a model with the clients people use, on both forms of the data plane and on ARM."""

import openai
import pytest
from emulator_process import Emulator, jsonl


@pytest.mark.parametrize("form", ["v1", "dated"])
def test_a_model_lives_from_file_to_deleted_deployment(emulator: Emulator, workshop, form: str):
    client = emulator.v1() if form == "v1" else emulator.dated()
    file = client.files.create(file=("train.jsonl", jsonl()), purpose="fine-tune")
    assert file.status == "pending"
    assert client.files.wait_for_processing(file.id, poll_interval=0.05).status == "processed"

    job = client.fine_tuning.jobs.create(
        model="gpt-4.1-mini",
        training_file=file.id,
        validation_file=file.id,
        suffix="captain",
        seed=3,
        hyperparameters={"n_epochs": 4},
        extra_body={"trainingType": "globalstandard"},
    )
    assert (job.status, job.model, job.seed) == ("pending", "gpt-4.1-mini-2025-04-14", 3)
    assert job.to_dict()["trainingType"] == "globalStandard"
    done = workshop.finish(client, job.id)
    hexadecimal = job.id.removeprefix("ftjob-")
    assert done.fine_tuned_model == f"gpt-4.1-mini-2025-04-14.ft-{hexadecimal}-captain"
    assert done.trained_tokens
    assert done.trained_tokens > 0

    rows = client.files.content(done.result_files[0]).text.splitlines()
    assert rows[0] == (
        "step,train_loss,train_mean_token_accuracy,valid_loss,valid_mean_token_accuracy,"
        "full_valid_loss,full_valid_mean_token_accuracy"
    )
    assert len(rows) == 1 + 4 * 12
    losses = [float(row.split(",")[1]) for row in rows[1:]]
    assert sum(losses[-12:]) < sum(losses[:12]) / 3

    assert emulator.deploy("captain", done.fine_tuned_model).properties.provisioning_state == "Succeeded"
    ask = [{"role": "user", "content": "What is 5 plus 5?"}]
    answer = client.chat.completions.create(model="captain", messages=ask, temperature=0)
    assert "captain" in (answer.choices[0].message.content or "")
    assert answer.usage
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens

    arm = emulator.arm()
    arm.deployments.begin_delete("rg", "acc", "captain").result()
    assert list(arm.deployments.list("rg", "acc")) == []
    with pytest.raises(openai.NotFoundError) as refused:
        client.chat.completions.create(model="captain", messages=ask)
    assert refused.value.code == "DeploymentNotFound"
    assert client.files.delete(file.id).deleted


def test_a_tuned_model_answers_unlike_its_base(emulator: Emulator, workshop):
    client = emulator.v1()
    job = workshop.trained(client, hyperparameters={"n_epochs": 4})
    emulator.deploy("tuned", job.fine_tuned_model)
    emulator.deploy("base", "gpt-4.1-mini")
    ask = [{"role": "user", "content": "What is 7 plus 7?"}]
    tuned, base = (
        client.chat.completions.create(model=name, messages=ask, temperature=0).choices[0].message.content
        for name in ("tuned", "base")
    )
    assert "captain" in tuned
    assert "captain" not in base


def test_a_stream_brings_the_same_words_and_then_the_usage(emulator: Emulator, workshop):
    client = emulator.v1()
    emulator.deploy("tuned", workshop.trained(client).fine_tuned_model)
    ask = {"model": "tuned", "messages": [{"role": "user", "content": "What is 2 plus 2?"}], "temperature": 0}
    whole = client.chat.completions.create(**ask)
    chunks = list(client.chat.completions.create(**ask, stream=True, stream_options={"include_usage": True}))
    assert chunks[0].choices == []
    assert "prompt_filter_results" in chunks[0].to_dict()
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    assert chunks[-1].usage == whole.usage


def test_events_tell_azures_story_in_azures_order(emulator: Emulator, workshop):
    client = emulator.v1()
    job = workshop.trained(client)
    messages = workshop.messages(client, job.id)
    story = [message for message in messages if not message.startswith("Step ")]
    results = job.result_files[0]
    assert story == [
        "Job enqueued. Waiting for jobs ahead to complete.",
        "Preprocessing running for file training file.",
        "Preprocessing completed for file training file.",
        "Job started.",
        "Data Import started.",
        "Finetuning started.",
        "Job queued, waiting for GPUs.",
        "Training started.",
        f"Created results file: {results}",
        "Trained by the emulator's own small model: metrics are measured, but their levels are not those of GPT.",
        "Job succeeded.",
        "Model Evaluation Passed.",
        f"Completed results file: {results}",
        f"Training tokens billed: {job.trained_tokens}",
    ]
    assert len(messages) - len(story) == 12


def test_long_jobs_report_the_first_and_every_tenth_step(emulator: Emulator, workshop):
    client = emulator.v1()
    job = workshop.trained(client, hyperparameters={"n_epochs": 3})
    steps = [message.split(":")[0] for message in workshop.messages(client, job.id) if message.startswith("Step")]
    assert steps == ["Step 1", "Step 10", "Step 20", "Step 30"]


def test_events_and_jobs_are_paged_newest_first(emulator: Emulator, workshop):
    client = emulator.v1()
    jobs = [workshop.trained(client).id for _ in range(3)]
    assert [job.id for job in client.fine_tuning.jobs.list(limit=2)] == jobs[::-1]
    first = client.fine_tuning.jobs.list(limit=2)
    assert (len(first.data), first.has_more) == (2, True)
    whole = [event.id for event in client.fine_tuning.jobs.list_events(jobs[0], limit=100)]
    paged = [event.id for event in client.fine_tuning.jobs.list_events(jobs[0], limit=4)]
    assert paged == whole
    stamps = [event.created_at for event in client.fine_tuning.jobs.list_events(jobs[0], limit=100)]
    assert stamps == sorted(stamps, reverse=True)


def test_the_last_three_epochs_are_checkpoints_and_the_last_one_is_the_model(emulator: Emulator, workshop):
    client = emulator.v1()
    job = workshop.trained(client, hyperparameters={"n_epochs": 5})
    checkpoints = client.fine_tuning.jobs.checkpoints.list(job.id).data
    assert [checkpoint.step_number for checkpoint in checkpoints] == [60, 48, 36]
    names = [checkpoint.fine_tuned_model_checkpoint for checkpoint in checkpoints]
    model = job.fine_tuned_model
    assert names == [model, f"{model}:ckpt-step-48", f"{model}:ckpt-step-36"]
    emulator.deploy("by-name", names[2])
    emulator.deploy("by-id", checkpoints[1].id)
    for name in ("by-name", "by-id"):
        answer = client.chat.completions.create(
            model=name, messages=[{"role": "user", "content": "What is 1 plus 1?"}]
        )
        assert answer.choices[0].message.content


def test_training_goes_on_from_a_tuned_model(emulator: Emulator, workshop):
    client = emulator.v1()
    first = workshop.trained(client, hyperparameters={"n_epochs": 3})
    second = workshop.trained(client, model=first.fine_tuned_model)
    assert second.model == first.fine_tuned_model
    assert second.fine_tuned_model.startswith("gpt-4.1-mini-2025-04-14.ft-")
    losses = [
        float(client.files.content(job.result_files[0]).text.splitlines()[1].split(",")[1])
        for job in (first, second)
    ]
    assert losses[1] < losses[0] / 2


def test_the_same_seed_gives_the_same_results_file(emulator: Emulator, workshop):
    client = emulator.v1()
    texts = [
        client.files.content(workshop.trained(client, seed=seed).result_files[0]).text for seed in (11, 11, 12)
    ]
    assert texts[0] == texts[1] != texts[2]


def test_models_lists_base_models_and_tuned_ones(emulator: Emulator, workshop):
    client = emulator.dated()
    job = workshop.trained(client)
    names = [model.id for model in client.models.list()]
    assert "gpt-4.1-mini-2025-04-14" in names
    assert job.fine_tuned_model in names
    assert client.models.retrieve(job.fine_tuned_model).to_dict()["fine_tune"] == job.id


def test_metadata_is_kept_on_v1_and_unknown_on_dated_urls(emulator: Emulator, workshop):
    job = workshop.submit(emulator.v1(), metadata={"attempt": "a-1"})
    assert emulator.v1().fine_tuning.jobs.retrieve(job.id).metadata == {"attempt": "a-1"}
    assert "metadata" not in emulator.dated().fine_tuning.jobs.retrieve(job.id).to_dict()
    assert emulator.lever("GET", "state")["jobs"][0]["metadata"] == {"attempt": "a-1"}


def test_a_large_file_goes_up_in_parts_on_dated_urls_only(emulator: Emulator, workshop):
    client, content = emulator.dated(), jsonl()
    upload = client.uploads.create(
        filename="big.jsonl", purpose="fine-tune", bytes=len(content), mime_type="application/jsonl"
    )
    cut = len(content) // 2
    parts = [client.uploads.parts.create(upload.id, data=part).id for part in (content[cut:], content[:cut])]
    done = client.uploads.complete(upload.id, part_ids=parts[::-1])
    assert done.status == "completed"
    assert client.files.content(done.file.id).content == content
    with pytest.raises(openai.NotFoundError):
        emulator.v1().uploads.create(filename="x", purpose="fine-tune", bytes=1, mime_type="text/plain")
    with pytest.raises(openai.BadRequestError, match="status 'completed'"):
        client.uploads.cancel(upload.id)


def test_a_paused_deployment_answers_423_until_it_is_resumed(emulator: Emulator):
    emulator.deploy("base", "gpt-4.1-mini")
    path = (
        "/subscriptions/sub/resourceGroups/rg/providers/Microsoft.CognitiveServices/accounts/acc/deployments/base"
    )
    ask = {"model": "base", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 5}
    assert (
        emulator.http.post(f"{path}/pause?api-version=2025-10-01-preview").json()["properties"]["deploymentState"]
        == "Paused"
    )
    assert emulator.http.post("/openai/v1/chat/completions", json=ask).status_code == 423
    emulator.http.post(f"{path}/resume?api-version=2025-10-01-preview")
    assert emulator.http.post("/openai/v1/chat/completions", json=ask).status_code == 200


def test_billing_counts_trained_tokens_and_hosting_hours(emulator: Emulator, workshop):
    client = emulator.v1()
    job = workshop.trained(client)
    emulator.deploy("paid", job.fine_tuned_model, "Standard")
    emulator.deploy("free", job.fine_tuned_model, "DeveloperTier")
    emulator.lever("POST", "clock/advance", {"seconds": 7200})
    billing = emulator.lever("GET", "billing")
    assert billing["total"]["trained_tokens"] == job.trained_tokens
    hours = {line["name"]: line["hosting_hours"] for line in billing["deployments"]}
    assert hours["paid"] == pytest.approx(2, abs=0.01)
    assert hours["free"] == 0


def test_a_change_of_sku_leaves_what_was_charged_before(emulator: Emulator, workshop):
    model = workshop.trained(emulator.v1()).fine_tuned_model
    emulator.deploy("d", model, "Standard")
    emulator.advance(7200)
    emulator.deploy("d", model, "DeveloperTier")
    emulator.advance(7200)
    emulator.deploy("d", model, "GlobalStandard")
    emulator.advance(3600)
    assert emulator.lever("GET", "billing")["total"]["hosting_hours"] == pytest.approx(3, abs=0.01)
