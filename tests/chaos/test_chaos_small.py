"""Three hundred kills in every test run; `make chaos` does the same at any size."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from run import Wanted, chaos


@pytest.mark.fault
@pytest.mark.timeout(900)  # two minutes on a quiet machine; paced by what the workers get done, so never wrong
@pytest.mark.row(7)
@pytest.mark.row(8)
@pytest.mark.row(16)
def test_kills_pauses_database_crashes_and_an_emptied_redis_lose_nothing_and_pay_nothing_twice() -> None:
    report = chaos(Wanted(kills=300, pauses=6, restarts=2, flushes=2, in_flight=24, claims_between=3, seed=7))

    assert report["problems"] == []
    assert report["did"]["kills"] >= 280, "the beat takes one in fifty"
    assert report["did"]["holding"] > 0, "no kill hit a worker that held a row, so nothing was tried"
    assert report["did"]["pauses"] == 6
    assert report["did"]["restarts"] == 2
    assert sum(report["faults"].values()) > 0
    assert report["verdict"]["jobs_accepted"] > 0
