"""What a restart keeps, how a training goes on, how the process ends, and that accounts can be kept apart."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from emulator_process import Emulator, Workshop, emulator_process, jsonl, wait_until

ARM = "/subscriptions/sub/resourceGroups/rg/providers/Microsoft.CognitiveServices/accounts"


def _big(count: int = 60) -> bytes:
    """Answers long enough to keep the learner busy for a while."""
    return jsonl(count, lambda n: " ".join(f"Word{n * k % 97} of {n} sails {k} times." for k in range(15)))


def _learned(emulator: Emulator) -> int:
    return emulator.lever("GET", "state")["jobs"][0]["learned_steps"]


def _children(pid: int) -> list[int]:
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False)
    return [int(line) for line in found.stdout.split()]


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"


def test_everything_is_kept_over_a_restart(tmp_path: Path, workshop):
    ask = [{"role": "user", "content": "What is 3 plus 3?"}]
    with emulator_process(tmp_path) as first:
        client = first.v1()
        job = workshop.trained(client, hyperparameters={"n_epochs": 3})
        first.deploy("kept", job.fine_tuned_model)
        answer = (
            client.chat.completions.create(model="kept", messages=ask, temperature=0).choices[0].message.content
        )
        before = (
            client.fine_tuning.jobs.retrieve(job.id).to_dict(),
            client.fine_tuning.jobs.list_events(job.id, limit=100).data,
            client.fine_tuning.jobs.checkpoints.list(job.id).data,
            client.files.content(job.result_files[0]).text,
            first.lever("GET", "state")["files"],
        )
        assert first.stop() < 2
    with emulator_process(tmp_path) as second:
        client = second.v1()
        after = (
            client.fine_tuning.jobs.retrieve(job.id).to_dict(),
            client.fine_tuning.jobs.list_events(job.id, limit=100).data,
            client.fine_tuning.jobs.checkpoints.list(job.id).data,
            client.files.content(job.result_files[0]).text,
            second.lever("GET", "state")["files"],
        )
        assert before == after
        again = client.chat.completions.create(model="kept", messages=ask, temperature=0).choices[0].message.content
        assert again == answer


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The results file of the large training, run in one go."""
    with emulator_process(tmp_path_factory.mktemp("undisturbed")) as emulator:
        client = emulator.v1()
        job = Workshop().trained(client, _big(), hyperparameters={"n_epochs": 3})
        return client.files.content(job.result_files[0]).text


def test_a_killed_training_goes_on_and_gives_the_same_results(tmp_path: Path, workshop, undisturbed: str):
    with emulator_process(tmp_path) as first:
        job_id = workshop.submit(first.v1(), _big(), hyperparameters={"n_epochs": 3}).id
        wait_until(lambda: _learned(first) >= 5)
        first.kill()
    with emulator_process(tmp_path) as second:
        shown = second.lever("GET", "state")["jobs"][0]["published_steps"]
        assert 5 <= shown < 180
        job = workshop.finish(second.v1(), job_id)
        assert job.status == "succeeded"
        assert second.v1().files.content(job.result_files[0]).text == undisturbed


def test_a_cancelled_training_makes_room_for_the_next(emulator: Emulator, workshop):
    client = emulator.v1()
    slow = workshop.submit(client, _big(), hyperparameters={"n_epochs": 100})
    wait_until(lambda: _learned(emulator) >= 2)
    assert client.fine_tuning.jobs.cancel(slow.id).status == "cancelled"
    started = time.monotonic()
    workshop.trained(client)
    assert time.monotonic() - started < 10
    steps = client.fine_tuning.jobs.retrieve(slow.id)
    assert steps.trained_tokens > 0


def test_http_answers_quickly_while_a_training_runs(emulator: Emulator, workshop):
    client = emulator.v1()
    workshop.submit(client, _big(), hyperparameters={"n_epochs": 100})
    wait_until(lambda: _learned(emulator) >= 2)
    times = []
    for _ in range(20):
        started = time.monotonic()
        client.fine_tuning.jobs.list()
        times.append(time.monotonic() - started)
    assert sorted(times)[10] < 0.2


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_no_process_is_left_behind_in_the_middle_of_a_training(workshop, ending: signal.Signals):
    with emulator_process() as emulator:
        workshop.submit(emulator.v1(), _big(), hyperparameters={"n_epochs": 100})
        wait_until(lambda: _learned(emulator) >= 2)
        children = _children(emulator.process.pid)
        assert children
        started = time.monotonic()
        emulator.process.send_signal(ending)
        emulator.process.wait(10)
        assert time.monotonic() - started < 2
        wait_until(lambda: not any(_alive(pid) for pid in children), 5)


def test_a_training_process_that_dies_fails_its_job_and_not_the_next(emulator: Emulator, workshop):
    client = emulator.v1()
    job = workshop.submit(client, _big(), hyperparameters={"n_epochs": 100})
    wait_until(lambda: _learned(emulator) >= 2)
    for pid in _children(emulator.process.pid):
        if "spawn_main" in Path(f"/proc/{pid}/cmdline").read_text():
            os.kill(pid, signal.SIGKILL)
    failed = workshop.finish(client, job.id)
    assert (failed.status, failed.error.code) == ("failed", "internalFailure")
    assert workshop.trained(client).fine_tuned_model


def test_it_listens_soon_and_says_one_line(tmp_path: Path):
    started = time.monotonic()
    with emulator_process(tmp_path) as emulator:
        assert emulator.http.get("/_emulator/health").status_code == 200
        took = time.monotonic() - started
        emulator.stop()
        assert emulator.process.stdout.read() == ""
    assert took < 20, "two seconds on a quiet machine"


def test_without_a_state_directory_nothing_is_left_on_disk(tmp_path: Path):
    with emulator_process(tmpdir=str(tmp_path)) as emulator:
        emulator.v1().files.create(file=("a.jsonl", jsonl()), purpose="fine-tune")
        pid = emulator.process.pid
        held = {descriptor.readlink() for descriptor in Path(f"/proc/{pid}/fd").iterdir()}
        directories = {path.parent for path in held if path.name == "emulator.sqlite"}
        assert len(directories) == 1
        emulator.stop()
    assert not directories.pop().exists()


def test_declared_accounts_are_resources_of_their_own():
    with emulator_process(accounts="east,west") as emulator:
        file = {"file": ("a.jsonl", jsonl())}
        made = emulator.http.post("/east/openai/v1/files", data={"purpose": "fine-tune"}, files=file).json()["id"]
        dated = emulator.http.post(
            "/east/openai/files?api-version=2024-10-21", data={"purpose": "fine-tune"}, files=file
        )
        assert emulator.http.get(dated.headers["location"]).status_code == 200
        assert emulator.http.get(f"/east/openai/v1/files/{made}").status_code == 200
        for other in ("/west", ""):
            assert emulator.http.get(f"{other}/openai/v1/files/{made}").status_code == 404
        body = {
            "sku": {"name": "Standard", "capacity": 1},
            "properties": {"model": {"format": "OpenAI", "name": "gpt-4.1-mini", "version": "2025-04-14"}},
        }
        version = {"api-version": "2025-06-01"}
        assert emulator.http.put(f"{ARM}/east/deployments/d", params=version, json=body).status_code == 201
        found = {
            name: len(emulator.http.get(f"{ARM}/{name}/deployments", params=version).json()["value"])
            for name in ("east", "west", "anything")
        }
        assert found == {"east": 1, "west": 0, "anything": 0}
        ask = {"model": "d", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 3}
        assert emulator.http.post("/east/openai/v1/chat/completions", json=ask).status_code == 200
        assert emulator.http.post("/openai/v1/chat/completions", json=ask).status_code == 404
        assert json.loads(emulator.http.get(f"{ARM}/east", params=version).text)["properties"]["endpoint"].endswith(
            "/east/"
        )
