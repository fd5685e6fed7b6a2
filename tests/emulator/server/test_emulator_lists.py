"""Lists of many jobs stay quick, are cut into pages, and shift while they are read when they are told to."""

import statistics
import time
from typing import Any

import openai
import pytest
from azure_published import dated_valid, v1_valid
from emulator_process import PREVIEW, Emulator

MANY = 10_000


def _plant(emulator: Emulator, **given: Any) -> list[str]:
    ids: list[str] = emulator.portal("create_jobs", **given)["ids"]
    return ids


def _median_seconds(emulator: Emulator, query: str) -> float:
    seconds = []
    for _ in range(9):
        started = time.perf_counter()
        page = emulator.http.get(f"/openai/v1/fine_tuning/jobs?limit=100{query}")
        seconds.append(time.perf_counter() - started)
        assert len(page.json()["data"]) == 100
    return statistics.median(seconds)


def test_a_page_of_ten_thousand_jobs_is_as_quick_as_one_of_a_hundred(emulator: Emulator):
    """Compared with itself, whatever the machine does besides; looking at every job would take fifty times as long."""
    _plant(emulator, count=101)
    few = _median_seconds(emulator, "")
    ids = _plant(emulator, count=MANY, metadata={"row": "{n}"})
    assert _median_seconds(emulator, "") < 5 * few
    assert _median_seconds(emulator, f"&after={ids[MANY // 2]}") < 15 * few
    assert emulator.http.get(f"/openai/v1/fine_tuning/jobs/{ids[0]}").json()["metadata"] == {"row": "0"}


@pytest.mark.parametrize("status", ["pending", "queued", "running", "failed", "cancelled"])
def test_planted_jobs_are_valid_and_stay_as_they_are(emulator: Emulator, status: str):
    ids = _plant(emulator, count=3, status=status, metadata={"purpose": "test {n}"})
    emulator.advance(1_000_000)
    page = emulator.http.get("/openai/v1/fine_tuning/jobs").json()
    v1_valid("OpenAI.ListPaginatedFineTuningJobsResponse", page)
    assert [(job["id"], job["status"]) for job in page["data"]] == [(job_id, status) for job_id in reversed(ids)]
    assert page["data"][0]["metadata"] == {"purpose": "test 2"}
    dated = emulator.http.get(f"/openai/fine_tuning/jobs/{ids[0]}?api-version={PREVIEW}").json()
    dated_valid("FineTuningJob", dated)


def test_planted_jobs_end_when_somebody_ends_them_and_take_nobodys_place(emulator: Emulator, workshop):
    ids = _plant(emulator, count=200)
    client = emulator.v1()
    assert client.fine_tuning.jobs.cancel(ids[0]).status == "cancelled"
    assert client.fine_tuning.jobs.list_events(ids[0]).data[0].message == "Job cancelled."
    assert workshop.trained(client).fine_tuned_model


@pytest.mark.parametrize(
    "given", [{"count": 0}, {"count": 10**9}, {"status": "succeeded"}, {"metadata": {"a": 1}}, {"model": "gpt-9"}]
)
def test_what_cannot_be_planted_is_refused(emulator: Emulator, given: dict[str, Any]):
    answer = emulator.http.post("/_emulator/portal", json={"action": "create_jobs", **given})
    assert answer.status_code == 400


def test_pages_join_to_the_whole_list_newest_first(emulator: Emulator):
    ids = _plant(emulator, count=45)
    jobs = emulator.v1().fine_tuning.jobs
    assert [job.id for job in jobs.list()] == ids[::-1]
    assert len(jobs.list().data) == 20
    last = jobs.list(limit=45)
    assert (len(last.data), last.has_more) == (45, False)
    assert jobs.list(limit=44).has_more


def test_what_is_created_between_two_pages_stands_on_none(emulator: Emulator):
    """`after` is a place in the list: what came in front of it since is not seen before the next reading."""
    ids = _plant(emulator, count=4)
    jobs = emulator.v1().fine_tuning.jobs
    first = jobs.list(limit=2).data
    new = _plant(emulator, count=2)
    rest = jobs.list(limit=10, after=first[-1].id).data
    assert [job.id for job in [*first, *rest]] == ids[::-1]
    assert [job.id for job in jobs.list(limit=2)][:2] == new[::-1]


@pytest.mark.parametrize(("shift", "repeated"), [(1, 1), (-1, -1)])
def test_a_page_that_shifted_repeats_an_item_or_leaves_one_out(emulator: Emulator, shift: int, repeated: int):
    ids = _plant(emulator, count=6)
    emulator.faults({"match": {"operation": "jobs.list"}, "do": {"page_shift": shift}})
    jobs = emulator.v1().fine_tuning.jobs
    first = jobs.list(limit=3)
    rest = jobs.list(limit=10, after=first.data[-1].id)
    seen = [job.id for job in [*first.data, *rest.data]]
    assert len(seen) == 6 + repeated
    assert len(set(seen)) == 6 + min(0, repeated)
    assert set(seen) <= set(ids)


def test_lists_come_in_any_order_when_told_to(emulator: Emulator, workshop):
    ids = _plant(emulator, count=30)
    jobs = emulator.v1().fine_tuning.jobs
    emulator.faults({"match": {"operation": "jobs.list"}, "do": {"list_order": "reversed"}})
    assert [job.id for job in jobs.list(limit=30)] == ids
    emulator.faults({"do": {"list_order": "shuffled"}})
    shuffled = [job.id for job in jobs.list(limit=30)]
    assert sorted(shuffled) == sorted(ids)
    assert shuffled not in (ids, ids[::-1])
    assert shuffled == [job.id for job in jobs.list(limit=7)]
    client = emulator.v1()
    files = [workshop.upload(client) for _ in range(4)]
    assert sorted(file.id for file in client.files.list()) == sorted(files)


def test_a_page_after_what_is_gone_is_refused(emulator: Emulator):
    ids = _plant(emulator, count=4, status="cancelled")
    jobs = emulator.v1().fine_tuning.jobs
    emulator.portal("delete_job", id=ids[2])
    with pytest.raises(openai.BadRequestError, match="'after' is not known"):
        jobs.list(after=ids[2])
    assert [job.id for job in jobs.list()] == [ids[3], ids[1], ids[0]]


def test_lists_lag_behind_what_a_look_at_the_thing_itself_shows(emulator: Emulator):
    emulator.clock("manual")
    ids = _plant(emulator, count=2)
    emulator.faults({"match": {"operation": "jobs.list"}, "do": {"list_lag_seconds": 30}})
    client = emulator.v1()
    assert client.fine_tuning.jobs.list().data == []
    assert client.fine_tuning.jobs.retrieve(ids[0]).status == "running"
    emulator.advance(30)
    assert len(client.fine_tuning.jobs.list().data) == 2
