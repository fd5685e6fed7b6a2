"""The form of an API key."""

import re

from hypothesis import given
from hypothesis import strategies as st

from app.access.secrets import PATTERN, fingerprint, is_well_formed, new_secret
from app.kit.caller import GRANTABLE, SCOPES, covers


def test_a_key_has_the_form_that_secret_scanners_look_for():
    key = new_secret()
    assert len(key.secret) == 55
    assert re.fullmatch(PATTERN, key.secret)
    assert is_well_formed(key.secret)
    assert key.sha256 == fingerprint(key.secret)
    assert key.secret[9:17] == key.public_id


@given(st.integers(9, 54), st.sampled_from("0123456789ABCabcXYZxyz"))
def test_one_wrong_character_is_noticed_without_a_query(place, character):
    secret = new_secret().secret
    changed = secret[:place] + character + secret[place + 1 :]
    assert is_well_formed(changed) == (changed == secret)


@given(st.text(max_size=80))
def test_any_other_text_is_no_key(text):
    assert not is_well_formed(text)


def test_wildcards_cover_what_they_say_and_nothing_else():
    assert all(covers({"*"}, scope) for scope in SCOPES)
    assert covers({"jobs:*"}, "jobs:write")
    assert covers({"jobs:write"}, "jobs:read")
    assert not covers({"jobs:read"}, "jobs:write")
    assert not covers({"jobs:*"}, "datasets:read")
    assert not covers({"jobs:*", "datasets:*"}, "admin")
    assert not covers({"admin"}, "jobs:read")
    assert not covers(set(), "events:read")
    assert "events:write" not in GRANTABLE
