"""One emulator for all tests of this folder, emptied before each."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
from emulator_process import Emulator, emulator_process, jsonl
from openai import OpenAI
from openai.types.fine_tuning import FineTuningJob

TERMINAL = {"succeeded", "failed", "cancelled"}


@pytest.fixture(scope="session")
def _server() -> Iterator[Emulator]:
    with emulator_process() as emulator:
        yield emulator


@pytest.fixture
def emulator(_server: Emulator) -> Emulator:
    """An empty emulator whose clock is instant and whose limits and pace are the usual ones."""
    _server.lever("POST", "reset")
    return _server


class Workshop:
    """The steps most tests begin with."""

    def upload(self, client: OpenAI, content: bytes | None = None, name: str = "train.jsonl") -> str:
        return client.files.create(file=(name, content or jsonl()), purpose="fine-tune").id

    def submit(self, client: OpenAI, content: bytes | None = None, **given: Any) -> FineTuningJob:
        given = {"model": "gpt-4.1-mini", "hyperparameters": {"n_epochs": 1}, "seed": 7} | given
        return client.fine_tuning.jobs.create(training_file=self.upload(client, content), **given)

    def finish(self, client: OpenAI, job_id: str, seconds: float = 60) -> FineTuningJob:
        deadline = time.monotonic() + seconds
        while True:
            job = client.fine_tuning.jobs.retrieve(job_id)
            if job.status in TERMINAL:
                return job
            assert time.monotonic() < deadline, job.status
            time.sleep(0.05)

    def trained(self, client: OpenAI, content: bytes | None = None, **given: Any) -> FineTuningJob:
        job = self.finish(client, self.submit(client, content, **given).id)
        assert job.status == "succeeded", job.error
        return job

    def messages(self, client: OpenAI, job_id: str) -> list[str]:
        """The messages of a job, oldest first."""
        events = client.fine_tuning.jobs.list_events(job_id, limit=100)
        return [event.message for event in events][::-1]


@pytest.fixture
def workshop() -> Workshop:
    return Workshop()
