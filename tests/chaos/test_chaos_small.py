"""A small chaos run in every test run; `make chaos` does the same at any size."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from run import Wanted, chaos


@pytest.mark.fault
@pytest.mark.timeout(900)  # under a minute on a quiet machine; paced by what the workers get done, so never wrong
@pytest.mark.row(7)
@pytest.mark.row(8)
@pytest.mark.row(16)
def test_twenty_kills_pauses_a_database_crash_and_an_emptied_redis_lose_nothing_and_pay_nothing_twice() -> None:
    report = chaos(Wanted(kills=20, pauses=3, restarts=1, flushes=1, in_flight=12, seed=7))

    assert report["problems"] == []
    assert report["did"]["kills"] >= 18, "the beat may have taken one or two"
    assert report["did"]["holding"] > 0, "no kill hit a worker that held a row, so nothing was tried"
    assert report["did"]["pauses"] == 3
    assert report["did"]["restarts"] == 1
    assert sum(report["faults"].values()) > 0
    assert report["verdict"]["jobs_accepted"] > 0
