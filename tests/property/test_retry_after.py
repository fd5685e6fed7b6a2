"""How long Azure asks to wait, whatever forms it says it in."""

import math
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

from hypothesis import given
from hypothesis import strategies as st

from app.azure.mapping import retry_after_seconds

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
SECONDS = st.integers(-(10**6), 10**7)


@given(st.dictionaries(st.sampled_from(["retry-after-ms", "x-ms-retry-after-ms", "retry-after"]), SECONDS))
def test_nothing_is_asked_earlier_than_any_header_says(said: dict[str, int]) -> None:
    headers = {name: str(value) for name, value in said.items()}
    waits = [value if name == "retry-after" else value / 1000 for name, value in said.items()]
    assert retry_after_seconds(headers, now=NOW) == (max(0.0, *waits) if waits else None)


@given(st.integers(-(10**6), 10**7), st.integers(-(10**6), 10**6), st.integers(0, 10**8))
def test_a_date_beside_milliseconds_is_measured_by_azures_clock(
    ahead: int, our_error: int, milliseconds: int
) -> None:
    headers = {
        "retry-after": format_datetime(NOW + timedelta(seconds=ahead), usegmt=True),
        "date": format_datetime(NOW, usegmt=True),
        "retry-after-ms": str(milliseconds),
    }
    found = retry_after_seconds(headers, now=NOW + timedelta(seconds=our_error))
    assert found == max(0.0, ahead, milliseconds / 1000)


@given(
    st.dictionaries(
        st.sampled_from(["retry-after-ms", "x-ms-retry-after-ms", "retry-after", "date"]),
        st.text(max_size=40) | SECONDS.map(str) | st.floats().map(str),
    ),
    st.text(max_size=80),
)
def test_garbage_is_never_negative_never_infinite_and_breaks_nothing(headers: dict[str, str], message: str) -> None:
    found = retry_after_seconds(headers, message, now=NOW)
    assert found is None or (found >= 0 and math.isfinite(found))
