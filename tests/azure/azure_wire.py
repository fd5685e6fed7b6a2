"""One resource to hold Azure's wire against: the emulator by default, a real one with `pytest tests/azure --azure`.

The environment of a real run is told in docs/guides/emulator.md. No code of ours takes part: the openai SDK in its
two forms and plain HTTP speak, and `azure_published` judges every plain answer.
"""

import json
import os
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import httpx2
import pytest
from azure_published import judge_answer
from openai import AzureOpenAI, OpenAI

ENV = "KITAE_TEST_AZURE_"
NEEDED = ("ENDPOINT", "SUBSCRIPTION_ID", "RESOURCE_GROUP", "ACCOUNT", "REGION")
ARM_VERSION = "2025-06-01"
DATA_SCOPE, ARM_SCOPE = "https://cognitiveservices.azure.com/.default", "https://management.azure.com/.default"

T = TypeVar("T")


def env(name: str, default: str = "") -> str:
    return os.environ.get(ENV + name, default)


def token(variable: str, scope: str) -> str:
    """A bearer token from the environment, or from whoever is logged in here."""
    from azure.identity import DefaultAzureCredential

    return env(variable) or DefaultAzureCredential().get_token(scope).token


@dataclass
class Site:
    """Where a resource is, how to be let in, what to train, and how long it may take."""

    endpoint: str
    data_headers: Mapping[str, str]
    arm_endpoint: str
    arm_headers: Mapping[str, str]
    subscription: str
    group: str
    account: str
    region: str
    dated_version: str = "2025-04-01-preview"
    model: str = "gpt-4.1-nano-2025-04-14"
    training_type: str = "developerTier"
    sku: str = "DeveloperTier"
    is_real: bool = False
    patience_seconds: float = 60
    every_seconds: float = 0.05
    mark: str = field(default_factory=lambda: f"kt{uuid.uuid4().hex[:10]}")

    @property
    def account_path(self) -> str:
        group = f"/subscriptions/{self.subscription}/resourceGroups/{self.group}"
        return f"{group}/providers/Microsoft.CognitiveServices/accounts/{self.account}"

    @property
    def region_path(self) -> str:
        return f"/subscriptions/{self.subscription}/providers/Microsoft.CognitiveServices/locations/{self.region}"

    def until(self, what: str, look: Callable[[], T | None]) -> T:
        """Look again and again until there is something to see."""
        deadline, tick = time.monotonic() + self.patience_seconds, threading.Event()
        while time.monotonic() < deadline:
            if (found := look()) is not None:
                return found
            tick.wait(self.every_seconds)
        pytest.fail(f"{what} did not come about in {self.patience_seconds:g} s")


def emulated(url: str) -> Site:
    return Site(
        endpoint=url,
        data_headers={"api-key": "local"},
        arm_endpoint=url,
        arm_headers={"authorization": "Bearer local"},
        subscription="sub",
        group="rg",
        account="acc",
        region="swedencentral",
    )


def real() -> Site:
    """The resource the environment names; the test is skipped where it names none."""
    missing = [ENV + name for name in NEEDED if not env(name)]
    if missing:
        pytest.skip(f"--azure needs {', '.join(missing)}; see docs/guides/emulator.md")
    key = env("KEY")
    return Site(
        endpoint=env("ENDPOINT").rstrip("/"),
        data_headers={"api-key": key} if key else {"authorization": f"Bearer {token('TOKEN', DATA_SCOPE)}"},
        arm_endpoint=env("ARM_ENDPOINT", "https://management.azure.com"),
        arm_headers={"authorization": f"Bearer {token('ARM_TOKEN', ARM_SCOPE)}"},
        subscription=env("SUBSCRIPTION_ID"),
        group=env("RESOURCE_GROUP"),
        account=env("ACCOUNT"),
        region=env("REGION"),
        dated_version=env("API_VERSION", "2025-04-01-preview"),
        model=env("MODEL", "gpt-4.1-nano-2025-04-14"),
        training_type=env("TRAINING_TYPE", "developerTier"),
        sku=env("SKU", "DeveloperTier"),
        is_real=True,
        patience_seconds=float(env("PATIENCE_SECONDS", "14400")),
        every_seconds=10,
    )


@dataclass
class Wire:
    """The data plane of a site in one of its two forms."""

    site: Site
    is_v1: bool

    def __post_init__(self) -> None:
        self.prefix = "/openai/v1" if self.is_v1 else "/openai"
        self.query = {} if self.is_v1 else {"api-version": self.site.dated_version}
        hooks = {"response": [judge_answer]}
        self.http = httpx2.Client(
            base_url=self.site.endpoint, headers=dict(self.site.data_headers), timeout=120, event_hooks=hooks
        )

    def call(self, method: str, path: str, *, query: Mapping[str, str] = {}, **given: Any) -> httpx2.Response:
        """One plain call, judged by what was published; no retry, no redirect."""
        return self.http.request(method, self.prefix + path, params={**self.query, **query}, **given)

    def sdk(self) -> OpenAI:
        """The openai SDK, in the class this form is made for."""
        headers = dict(self.site.data_headers)
        secret = headers.get("api-key", "none")
        if self.is_v1:
            base = f"{self.site.endpoint}/openai/v1/"
            return OpenAI(base_url=base, api_key=secret, default_headers=headers, max_retries=0)
        return AzureOpenAI(
            azure_endpoint=self.site.endpoint,
            api_version=self.site.dated_version,
            api_key=secret,
            default_headers=headers,
            max_retries=0,
        )

    def upload(self, content: bytes, name: str) -> httpx2.Response:
        form = {"data": {"purpose": "fine-tune"}, "files": {"file": (name, content)}}
        return self.call("POST", "/files", **form)

    def uploaded(self, content: bytes, name: str) -> str:
        """The id of a file, once Azure has processed it."""
        file_id = str(self.upload(content, name).json()["id"])

        def processed() -> str | None:
            seen = self.call("GET", f"/files/{file_id}").json()
            assert seen["status"] not in {"error", "deleted"}, seen
            return file_id if seen["status"] == "processed" else None

        return self.site.until("the file's processing", processed)


@dataclass
class Control:
    """The control plane of a site: plain calls, judged by what was published."""

    site: Site

    def __post_init__(self) -> None:
        self.http = httpx2.Client(
            base_url=self.site.arm_endpoint,
            headers=dict(self.site.arm_headers),
            timeout=120,
            event_hooks={"response": [judge_answer]},
        )

    def call(self, method: str, path: str, body: object = None, **query: str) -> httpx2.Response:
        given = (
            {} if body is None else {"content": json.dumps(body), "headers": {"content-type": "application/json"}}
        )
        return self.http.request(method, path, params={"api-version": ARM_VERSION, **query}, **given)

    def deployment(self, method: str, name: str, body: object = None) -> httpx2.Response:
        return self.call(method, f"{self.site.account_path}/deployments/{name}", body)

    def follow(self, answer: httpx2.Response) -> dict[str, Any]:
        """The end of a write, by its `Azure-AsyncOperation`."""
        url = answer.headers["azure-asyncoperation"]

        def ended() -> dict[str, Any] | None:
            seen: dict[str, Any] = self.http.get(url).json()
            return seen if seen["status"] in {"Succeeded", "Failed", "Canceled"} else None

        return self.site.until("the end of the write", ended)


def examples(count: int, first: int = 0) -> bytes:
    """A sound training file."""
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
