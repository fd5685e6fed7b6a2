"""The lives in flight during a chaos run: made, cancelled, deployed, asked and ended through the HTTP API.

What a life is and does follows from the seed and its number alone. How far it is, is read from the database.
"""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import httpx2
import psycopg
from psycopg.rows import dict_row

Kind = Literal["job", "validated", "cancelled", "model", "base"]
KINDS: Final[dict[Kind, float]] = {"job": 0.50, "validated": 0.10, "cancelled": 0.18, "model": 0.10, "base": 0.12}
"""Shares: a plain job, one with validation, one that is cancelled at some moment, a job whose model is deployed and
asked, and a base model that is deployed and asked."""
CANCEL_WITHIN_SECONDS: Final = 3.0
"""A job lives about so long here, so that a wish to cancel it meets every state."""
EXPIRE_SHARE: Final = 0.4
"""Share of the deployments that are not deleted but left to expire."""
EXPIRY_SECONDS: Final = 1.0
"""How far the end of a deployment is brought forward where it shall expire instead of being deleted."""
AGAIN_SECONDS: Final = 30.0
"""When a deployment that should be gone is asked to go once more."""
ACCOUNTS_AT_ONCE: Final = 6
JOBS_AN_ACCOUNT: Final = 80
"""Azure keeps 100 jobs of a resource; a life moves on to the next resource before."""
DATED_EVERY: Final = 4
"""Every fourth connection speaks the dated form, whose jobs carry no metadata."""
SEED_OF_TRAININGS: Final = 7
ENDED: Final = frozenset({"succeeded", "failed", "cancelled", "deleted", "expired", "removed_by_azure"})


class Lost(Exception):
    """The API gave no definite answer for so long that the request is given up."""


@dataclass
class Api:
    """The service as a caller has it: asks again, with the same Idempotency-Key, until the answer is definite."""

    http: httpx2.Client
    patience_seconds: float = 120.0
    unanswered: Counter[str] = field(default_factory=Counter)
    """Requests without a definite answer, by what was given instead; each was asked again."""

    def ask(self, method: str, path: str, body: object = None, *, key: str | None = None) -> httpx2.Response:
        """An answer below 500. Raises `Lost`."""
        headers = {"Idempotency-Key": key} if key else {}
        deadline = time.monotonic() + self.patience_seconds
        while True:
            try:
                answer = self.http.request(method, path, json=body, headers=headers)
            except httpx2.TransportError as error:
                said = type(error).__name__
            else:
                under_way = answer.status_code == 409 and "idempotency_in_progress" in answer.text
                if answer.status_code < 500 and not under_way:
                    return answer
                said = "idempotency_in_progress" if under_way else str(answer.status_code)
            self.unanswered[said] += 1
            if time.monotonic() > deadline:
                raise Lost(f"{method} {path}: {said}")
            time.sleep(0.1)


class Database:
    """A connection for looking, made anew whenever the server was away."""

    def __init__(self, url: str, *, patience_seconds: float = 60.0) -> None:
        self._url, self._patience = url, patience_seconds
        self._connection: psycopg.Connection[dict[str, Any]] | None = None
        self._lock = threading.Lock()

    def rows(self, query: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> list[dict[str, Any]]:
        """Raises psycopg.OperationalError when the server stays away."""
        deadline = time.monotonic() + self._patience
        with self._lock:
            while True:
                try:
                    if self._connection is None:
                        self._connection = psycopg.connect(self._url, autocommit=True, row_factory=dict_row)
                    cursor = self._connection.execute(query, parameters)
                    return cursor.fetchall() if cursor.description else []
                except psycopg.OperationalError:
                    if self._connection is not None:
                        self._connection.close()
                        self._connection = None
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(0.02)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()


@dataclass
class Life:
    """One life: what it shall do, and how far it is."""

    number: int
    kind: Kind
    account: str
    chance: random.Random
    job: str | None = None
    deployment: str | None = None
    state: str = "new"
    """new, job, ended-job, deployment, done, given-up."""
    cancel_at: float | None = None
    delete_at: float | None = None
    asked: bool = False
    ending_since: float | None = None
    busy: "Future[None] | None" = None


@dataclass
class Population:
    """All lives of a run."""

    api: Api
    database: Database
    emulator_url: str
    accounts: Sequence[str]
    seed: int
    in_flight: int
    lives: list[Life] = field(default_factory=list)
    """Those under way."""
    ended: Counter[str] = field(default_factory=Counter)
    jobs: dict[str, Kind] = field(default_factory=dict)
    """Every accepted job: the API answered 202 with its id."""
    deployments: dict[str, Kind] = field(default_factory=dict)
    answers: Counter[str] = field(default_factory=Counter)
    """Chats, by HTTP status."""
    refusals: list[str] = field(default_factory=list)
    """Requests the API refused although nothing was wrong with them."""
    given_up: list[str] = field(default_factory=list)
    _connected: dict[str, str] = field(default_factory=dict)
    _made: int = 0
    _threads: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(8, "lives"))
    _connecting: threading.Lock = field(default_factory=threading.Lock)

    def close(self) -> None:
        self._threads.shutdown(cancel_futures=True)

    # ── the turn ────────────────────────────────────────────────────────────

    def turn(self, *, grow: bool, calm: bool = False) -> None:
        """Look at every life once and do what is next in it.

        Args:
            grow: begin new lives for those that ended.
            calm: the end of the run: whoever would wait for something does not, every deployment is given back.
        """
        while grow and len(self.lives) < self.in_flight:
            self.lives.append(self._new_life())
        jobs = self._look("jobs", [life.job for life in self.lives if life.job])
        deployments = self._look("deployments", [life.deployment for life in self.lives if life.deployment])
        for life in self.lives:
            if life.busy is not None:
                if not life.busy.done():
                    continue
                life.busy.result()
                life.busy = None
            deed = self._next(life, jobs.get(life.job or ""), deployments.get(life.deployment or ""), calm=calm)
            if deed is not None:
                life.busy = self._threads.submit(self._try, life, deed)
        for life in [life for life in self.lives if life.state in {"done", "given-up"}]:
            self.lives.remove(life)
            self.ended[f"{life.kind}, {life.state}"] += 1

    def _new_life(self) -> Life:
        number = self._made
        self._made += 1
        chance = random.Random(f"{self.seed}:{number}")
        kind: Kind = chance.choices(list(KINDS), list(KINDS.values()))[0]
        window = (number // (ACCOUNTS_AT_ONCE * JOBS_AN_ACCOUNT)) * ACCOUNTS_AT_ONCE
        return Life(number, kind, self.accounts[(window + number % ACCOUNTS_AT_ONCE) % len(self.accounts)], chance)

    def _look(self, table: str, ids: list[str]) -> dict[str, dict[str, Any]]:
        if not ids:
            return {}
        rows = self.database.rows(
            f"SELECT id, status, next_check_at IS NULL AS rests FROM {table} WHERE id = ANY(%s)",  # noqa: S608  ours
            [ids],
        )
        return {row["id"]: row for row in rows}

    def _next(
        self, life: Life, job: dict[str, Any] | None, deployment: dict[str, Any] | None, *, calm: bool
    ) -> Callable[[Life], None] | None:
        """What this life does now; None: it waits."""
        now = time.monotonic()
        match life.state:
            case "new":
                return self._make_base if life.kind == "base" else self._make_job
            case "job" if job is not None:
                if life.cancel_at is not None and now > life.cancel_at and job["status"] not in ENDED:
                    life.cancel_at = None
                    return self._cancel
                if job["status"] in ENDED and job["rests"]:
                    if life.kind != "model" or job["status"] != "succeeded" or calm:
                        life.state = "done"
                        return None
                    return self._deploy_model
            case "deployment" if deployment is not None:
                return self._next_of_deployment(life, deployment, calm=calm)
        return None

    def _next_of_deployment(self, life: Life, row: dict[str, Any], *, calm: bool) -> Callable[[Life], None] | None:
        if row["status"] in ENDED:
            if row["rests"]:
                life.state = "done"
            return None
        now = time.monotonic()
        if life.ending_since is not None and now < life.ending_since + AGAIN_SECONDS and not calm:
            return None
        if row["status"] == "ready" and not life.asked and not calm:
            life.asked = True
            return self._chat
        hasty = life.delete_at is not None and now > life.delete_at
        if life.asked or hasty or (calm and row["status"] != "deleting"):
            gently = life.ending_since is None and row["status"] == "ready" and life.chance.random() < EXPIRE_SHARE
            life.ending_since = now
            return self._expire if gently else self._delete
        return None

    def _try(self, life: Life, deed: Callable[[Life], None]) -> None:
        try:
            deed(life)
        except Lost as lost:
            life.state = "given-up"
            self.given_up.append(str(lost))

    # ── deeds, in threads of their own ──────────────────────────────────────

    def _connection(self, account: str) -> str:
        with self._connecting:
            if account not in self._connected:
                number = self.accounts.index(account)
                dated = number % DATED_EVERY == DATED_EVERY - 1
                url = f"{self.emulator_url}/{account}"
                body = {
                    "name": account,
                    "endpoint": url,
                    "region": "swedencentral",
                    "auth": "api_key",
                    "api_key": "local",
                    "arm_endpoint": self.emulator_url,
                    "arm_token": "local",
                    "subscription_id": "sub",
                    "resource_group": "rg",
                    "account": account,
                } | ({"api_style": "dated", "api_version": "2025-04-01-preview"} if dated else {})
                answer = self.api.ask("POST", "/v1/connections", body)
                taken = answer.status_code == 409  # made by a request whose answer was lost
                if answer.status_code != 201 and not taken:
                    raise Lost(f"connection refused: {answer.status_code} {answer.text[:300]}")
                self._connected[account] = account
            return self._connected[account]

    def _make_job(self, life: Life) -> None:
        body = {
            "connection": self._connection(life.account),
            "model": "gpt-4.1-mini",
            "training": "small@1",
            "validation": "small-validation@1" if life.kind == "validated" else None,
            "hyperparameters": {"n_epochs": 1},
            "seed": SEED_OF_TRAININGS,
            "suffix": f"n{life.number}",
        }
        answer = self.api.ask("POST", "/v1/jobs", body, key=f"job-{self.seed}-{life.number}")
        if answer.status_code != 202:
            self._refused(life, answer)
            return
        life.job = str(answer.json()["id"])
        self.jobs[life.job] = life.kind
        if life.kind == "cancelled":
            life.cancel_at = time.monotonic() + life.chance.uniform(0, CANCEL_WITHIN_SECONDS)
        life.state = "job"

    def _refused(self, life: Life, answer: httpx2.Response) -> None:
        life.state = "given-up"
        self.refusals.append(f"{life.kind}: {answer.status_code} {answer.text[:300]}")

    def _cancel(self, life: Life) -> None:
        answer = self.api.ask("POST", f"/v1/jobs/{life.job}/cancel", key=f"cancel-{self.seed}-{life.number}")
        if answer.status_code != 202 and "job_finished" not in answer.text:
            self._refused(life, answer)

    def _deploy_model(self, life: Life) -> None:
        models = self.database.rows("SELECT id FROM models WHERE job_id = %s AND kind = 'final'", [life.job])
        if models:  # else: the news has not come up yet
            self._make_deployment(life, {"model": models[0]["id"]})

    def _make_base(self, life: Life) -> None:
        self._make_deployment(life, {"model": "gpt-4.1-mini", "connection": self._connection(life.account)})

    def _make_deployment(self, life: Life, body: dict[str, Any]) -> None:
        body |= {"name": f"n{life.number}", "ttl_seconds": 3600, "capacity": 1}
        answer = self.api.ask("POST", "/v1/deployments", body, key=f"deployment-{self.seed}-{life.number}")
        if answer.status_code == 409 and "too_many_deployments" in answer.text:
            return  # a resource holds ten; some time later
        if answer.status_code != 202:
            self._refused(life, answer)
            return
        life.deployment = str(answer.json()["id"])
        self.deployments[life.deployment] = life.kind
        if life.chance.random() < 0.3:  # somebody changes their mind, ready or not
            life.delete_at = time.monotonic() + life.chance.uniform(0, CANCEL_WITHIN_SECONDS)
        life.state = "deployment"

    def _chat(self, life: Life) -> None:
        question = {"messages": [{"role": "user", "content": "What is 3 plus 3?"}], "max_tokens": 4}
        try:
            answer = self.api.http.post(f"/v1/deployments/{life.deployment}/chat", json=question)
            self.answers[str(answer.status_code)] += 1
        except httpx2.TransportError as error:
            self.answers[type(error).__name__] += 1

    def _delete(self, life: Life) -> None:
        answer = self.api.ask("DELETE", f"/v1/deployments/{life.deployment}")
        if answer.status_code not in {202, 409}:
            self._refused(life, answer)

    def _expire(self, life: Life) -> None:
        """Time passes: the end of this deployment is brought forward, as nothing in the API allows below a minute."""
        self.database.rows(
            "UPDATE deployments SET expires_at = clock_timestamp() + make_interval(secs => %s::float8) WHERE id = %s",
            [EXPIRY_SECONDS, life.deployment],
        )

    # ── a person's part ─────────────────────────────────────────────────────

    def retry_parked(self) -> int:
        """Say `retry` to whatever is parked, as its owner would; how much that was."""
        parked = 0
        for noun in ("jobs", "deployments"):
            rows = self.database.rows(f"SELECT id, fence FROM {noun} WHERE parked_reason IS NOT NULL")  # noqa: S608
            for row in rows:
                self.api.ask("POST", f"/v1/{noun}/{row['id']}/retry", key=f"retry-{row['id']}-{row['fence']}")
            parked += len(rows)
        return parked
