"""Whatever is done in whatever order, the emulator keeps its word."""

from typing import Any, ClassVar

from emulator_process import Emulator, jsonl
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

NEXT = {
    "pending": {"pending", "queued", "running", "pausing", "succeeded", "failed", "cancelled"},
    "queued": {"queued", "running", "succeeded", "failed", "cancelled"},
    "running": {"running", "pausing", "succeeded", "failed", "cancelled"},
    "pausing": {"pausing", "paused", "cancelled"},
    "paused": {"paused", "resuming", "cancelled"},
    "resuming": {"resuming", "running", "succeeded", "failed", "cancelled"},
    "succeeded": {"succeeded"},
    "failed": {"failed"},
    "cancelled": {"cancelled"},
}
GOOD, BAD = jsonl(10), jsonl(9)


SEEN: set[str] = set()
"""Every status a job had in any example."""


class AnyOrder(RuleBasedStateMachine):
    """Uploads, jobs, deployments and time in any order, on a clock that only moves when told."""

    emulator: ClassVar[Emulator]

    @initialize()
    def begin(self) -> None:
        self.emulator.lever("POST", "reset")
        self.emulator.clock("manual")
        self.emulator.lever("PUT", "pace", {"step": 5})
        self.files: list[str] = []
        self.jobs: dict[str, str] = {}
        self.events: dict[str, list[str]] = {}
        self.charged = (0, 0.0)
        self.upload(BAD)
        self.emulator.advance(5)
        self._submit(self.files.pop(), "Standard")
        self.upload(GOOD)
        self.emulator.advance(5)

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        answer = self.emulator.http.request(method, path, json=body)
        assert answer.status_code < 500, answer.text
        return answer.json() if answer.content else {}

    @rule(content=st.sampled_from([GOOD, GOOD, BAD]))
    def upload(self, content: bytes) -> None:
        files = {"file": ("a.jsonl", content)}
        answer = self.emulator.http.post("/openai/v1/files", data={"purpose": "fine-tune"}, files=files)
        self.files.append(answer.json()["id"])

    @precondition(lambda self: len(self.jobs) < 6)
    @rule(data=st.data(), kind=st.sampled_from(["Standard", "developerTier"]))
    def submit(self, data: st.DataObject, kind: str) -> None:
        self._submit(data.draw(st.sampled_from(self.files)), kind)

    def _submit(self, file_id: str, kind: str) -> None:
        body = {"model": "gpt-4.1-mini", "training_file": file_id, "trainingType": kind}
        answer = self._call("POST", "/openai/v1/fine_tuning/jobs", body | {"hyperparameters": {"n_epochs": 2}})
        if "id" in answer:
            self.jobs[answer["id"]] = answer["status"]

    def _order(self, verb: str, *statuses: str) -> None:
        job_id = next(job_id for job_id, status in self.jobs.items() if status in statuses)
        self._call("POST", f"/openai/v1/fine_tuning/jobs/{job_id}/{verb}")

    @precondition(lambda self: {"pending", "queued", "running", "paused"} & set(self.jobs.values()))
    @rule(status=st.sampled_from(["running", "paused", "queued", "pending"]))
    def cancel(self, status: str) -> None:
        if status in self.jobs.values():
            self._order("cancel", status)

    @precondition(lambda self: "running" in self.jobs.values())
    @rule()
    def pause(self) -> None:
        self._order("pause", "running")

    @precondition(lambda self: "paused" in self.jobs.values())
    @rule()
    def resume(self) -> None:
        self._order("resume", "paused")

    @rule(seconds=st.sampled_from([5, 30, 60, 160, 200, 500, 100_000]))
    def wait(self, seconds: float) -> None:
        self.emulator.advance(seconds)

    @precondition(lambda self: "succeeded" in self.jobs.values())
    @rule(name=st.sampled_from(["a", "b"]), sku=st.sampled_from(["Standard", "DeveloperTier"]))
    def deploy(self, name: str, sku: str) -> None:
        job_id = next(job_id for job_id, status in self.jobs.items() if status == "succeeded")
        model = self._call("GET", f"/openai/v1/fine_tuning/jobs/{job_id}")["fine_tuned_model"]
        properties = {"model": {"format": "OpenAI", "name": model, "version": "1"}}
        body = {"sku": {"name": sku, "capacity": 1}, "properties": properties}
        self._call("PUT", f"{_ARM}/deployments/{name}?api-version=2025-06-01", body)

    @precondition(lambda self: self.emulator.lever("GET", "state")["deployments"])
    @rule(name=st.sampled_from(["a", "b"]))
    def take_down(self, name: str) -> None:
        self._call("DELETE", f"{_ARM}/deployments/{name}?api-version=2025-06-01")

    @invariant()
    def jobs_move_forward_only_and_their_log_only_grows(self) -> None:
        shown = self._call("GET", "/openai/v1/fine_tuning/jobs?limit=100").get("data", [])
        assert len(shown) == len(self.jobs)
        for job in shown:
            job_id, status = job["id"], job["status"]
            assert status in NEXT[self.jobs[job_id]], (self.jobs[job_id], status)
            self.jobs[job_id] = status
            SEEN.add(status)
            assert (status == "succeeded") == ("fine_tuned_model" in job)
            assert (status == "failed") == ("error" in job)
            assert (status in {"succeeded", "failed", "cancelled"}) == ("finished_at" in job)
            log = self._call("GET", f"/openai/v1/fine_tuning/jobs/{job_id}/events?limit=100")["data"][::-1]
            ids = [event["id"] for event in log]
            assert ids[: len(self.events.get(job_id, []))] == self.events.get(job_id, [])
            self.events[job_id] = ids

    @invariant()
    def limits_hold_and_nothing_is_shown_before_it_was_measured(self) -> None:
        jobs = self.emulator.lever("GET", "state")["jobs"]
        on_machine = sum(job["phase"] in {"starting", "training", "evaluating"} for job in jobs)
        assert on_machine <= 3 + 5
        assert all(job["published_steps"] <= job["learned_steps"] for job in jobs)

    @invariant()
    def charges_never_shrink(self) -> None:
        total = self.emulator.lever("GET", "billing")["total"]
        charged = (total["trained_tokens"], total["hosting_hours"])
        assert charged[0] >= self.charged[0]
        assert charged[1] >= self.charged[1]
        self.charged = charged


_ARM = "/subscriptions/sub/resourceGroups/rg/providers/Microsoft.CognitiveServices/accounts/acc"


def test_the_emulator_keeps_its_word_in_any_order(emulator: Emulator):
    AnyOrder.emulator = emulator
    run_state_machine_as_test(
        AnyOrder,
        settings=settings(
            max_examples=25,
            stateful_step_count=25,
            deadline=None,
            database=None,
            derandomize=True,
            phases=(Phase.generate,),  # to shrink a failure on a live server takes minutes
            suppress_health_check=list(HealthCheck),
        ),
    )
    assert {"running", "succeeded", "failed"} <= SEEN
