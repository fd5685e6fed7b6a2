"""How values look in an answer."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from app.http.etags import etag_of
from app.http.responses import to_json
from app.kit.markers import marker


@pytest.mark.parametrize(
    ("amount", "text"),
    [("12.50", "12.5"), ("0.000000", "0"), ("1E+3", "1000"), ("-0.10", "-0.1"), ("1e-6", "0.000001")],
)
def test_money_is_text_without_exponent_or_idle_zeros(amount, text):
    assert orjson.loads(to_json({"usd": Decimal(amount)})) == {"usd": text}


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**12), max_value=10**12, places=6))
def test_money_survives_the_wire(amount):
    assert Decimal(orjson.loads(to_json({"usd": amount}))["usd"]) == amount


def test_times_are_utc_with_z():
    moment = datetime(2026, 11, 20, 9, 30, 0, 123456, tzinfo=UTC)
    assert orjson.loads(to_json({"at": moment}))["at"] == "2026-11-20T09:30:00.123456Z"


def test_a_schema_inside_a_row_is_written_out():
    class Inner(BaseModel):
        usd: Decimal

    assert to_json({"data": (Inner(usd=Decimal("1.50")),)}) == b'{"data":[{"usd":"1.5"}]}'


def test_what_has_no_form_in_json_is_an_error_and_not_a_guess():
    with pytest.raises(TypeError):
        to_json({"x": object()})


@given(st.integers(0, 10**16), st.integers(1, 10**6))
def test_a_marker_differs_with_every_microsecond_and_not_with_the_time_zone(since, later):
    moment = datetime(2020, 1, 1, tzinfo=UTC) + timedelta(microseconds=since)
    abroad = moment.astimezone(timezone(timedelta(hours=9)))
    assert marker("job_1", moment) == marker("job_1", abroad)
    assert marker("job_1", moment) != marker("job_1", moment + timedelta(microseconds=later))
    assert etag_of(marker("job_1", moment)).startswith('"job_1-')
