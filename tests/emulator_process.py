"""Starts the emulator as a process of its own and gives tests its levers and real clients."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
from azure.core.credentials import AccessToken
from azure.core.pipeline.policies import SansIOHTTPPolicy
from azure.mgmt.cognitiveservices import CognitiveServicesManagementClient
from azure.mgmt.cognitiveservices.models import Deployment, DeploymentModel, DeploymentProperties, Sku
from openai import AzureOpenAI, OpenAI
from openai.types.fine_tuning import FineTuningJob

ROOT = Path(__file__).resolve().parent.parent
CACHE = Path(tempfile.gettempdir()) / "kitae-emulator-cache"
PREVIEW = "2025-04-01-preview"
STABLE = "2024-10-21"


class _LocalToken(SansIOHTTPPolicy[Any, Any]):
    """The management client refuses to send real tokens over plain HTTP; this one is no secret."""

    def on_request(self, request: Any) -> None:
        request.http_request.headers["Authorization"] = "Bearer local"


class _Nobody:
    def get_token(self, *_scopes: str, **_options: Any) -> AccessToken:
        return AccessToken("local", 9_999_999_999)


@dataclass
class Emulator:
    """A running emulator."""

    url: str
    process: "subprocess.Popen[str]"
    http: httpx2.Client

    def lever(self, method: str, path: str, body: object = None) -> Any:
        """Pull a lever; anything but 200 fails the test."""
        content = None if body is None else json.dumps(body)
        answer = self.http.request(method, f"/_emulator/{path}", content=content)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def clock(self, mode: str, speed: float = 60) -> None:
        self.lever("PUT", "clock", {"mode": mode, "speed": speed})

    def advance(self, seconds: float) -> None:
        assert self.lever("POST", "clock/advance", {"seconds": seconds})["learned"]

    def faults(self, *rules: Mapping[str, Any]) -> None:
        self.lever("PUT", "faults", list(rules))

    def portal(self, action: str, **given: Any) -> Any:
        return self.lever("POST", "portal", {"action": action, **given})

    def requests(self, operation: str) -> list[dict[str, Any]]:
        return [entry for entry in self.lever("GET", "requests") if entry["operation"] == operation]

    def v1(self, max_retries: int = 0) -> OpenAI:
        return OpenAI(base_url=f"{self.url}/openai/v1/", api_key="local", max_retries=max_retries)

    def dated(self, version: str = PREVIEW, max_retries: int = 0) -> AzureOpenAI:
        return AzureOpenAI(azure_endpoint=self.url, api_version=version, api_key="local", max_retries=max_retries)

    def arm(self) -> CognitiveServicesManagementClient:
        return CognitiveServicesManagementClient(
            _Nobody(),
            "sub",
            base_url=self.url,
            authentication_policy=_LocalToken(),
            retry_total=0,
        )

    def deploy(self, name: str, model: str, sku: str = "GlobalStandard", capacity: int = 10) -> Any:
        """Create a deployment with the management client and wait for it as people do."""
        return (
            self.arm()
            .deployments.begin_create_or_update("rg", "acc", name, deployment(model, sku, capacity))
            .result()
        )

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(5)

    def stop(self) -> float:
        """Ask it to end; how long it took, in seconds."""
        started = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(10)
        return time.monotonic() - started


def deployment(model: str, sku: str = "GlobalStandard", capacity: int = 10) -> Deployment:
    version = "1" if ".ft-" in model else None
    return Deployment(
        sku=Sku(name=sku, capacity=capacity),
        properties=DeploymentProperties(model=DeploymentModel(format="OpenAI", name=model, version=version)),
    )


@contextmanager
def emulator_process(state: Path | None = None, **settings: str) -> Iterator[Emulator]:
    """A fresh emulator on a free port, with an instant clock unless the settings say otherwise."""
    arguments = [sys.executable, "-m", "emulator", "--port", "0"]
    arguments += ["--state", str(state)] if state else []
    environment = {"EMULATOR_CLOCK": "instant", "EMULATOR_CACHE": str(CACHE)}
    environment |= {f"EMULATOR_{name.upper()}": value for name, value in settings.items()}
    process = subprocess.Popen(
        arguments, cwd=ROOT, env={**os.environ, **environment}, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    line = process.stdout.readline()
    url = line.rsplit(" ", 1)[-1].strip()
    headers = {"api-key": "local", "authorization": "Bearer local"}
    with httpx2.Client(base_url=url, headers=headers, timeout=60) as http:
        try:
            assert line.startswith("emulator listening on http://127.0.0.1:"), line
            yield Emulator(url, process, http)
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait(10)
            process.stdout.close()


def jsonl(
    count: int = 12, answer: Callable[[int], str] = lambda n: f"Aye aye, {n} and {n} make {2 * n}, captain."
) -> bytes:
    """A small sound training file."""
    lines = [
        {
            "messages": [
                {"role": "user", "content": f"What is {number} plus {number}?"},
                {"role": "assistant", "content": answer(number)},
            ]
        }
        for number in range(count)
    ]
    return "\n".join(json.dumps(line) for line in lines).encode()


def wait_until(holds: Callable[[], bool], seconds: float = 60) -> None:
    """Look again and again, for what depends on the real time the learner takes."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


TERMINAL = {"succeeded", "failed", "cancelled"}


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
