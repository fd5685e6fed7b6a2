"""Text that may cross the wire."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from app.kit.ids import is_id, new_id
from app.kit.wire import Label, Name, RequestModel, ShortText


class _Names(RequestModel):
    name: Name


class _Labels(RequestModel):
    label: Label


class _Notes(RequestModel):
    note: ShortText


@pytest.mark.parametrize("name", ["a", "A1", "travel-assistant", "v1.2_final", "x" * 64, "0"])
def test_a_name_may_stand_in_a_url(name):
    assert _Names(name=name).name == name


@pytest.mark.parametrize(
    "name", ["", "-a", "a-", ".", "..", "a/b", "a@1", "a b", "é", "a\n", "a\x00", "x" * 65, "日本", "%41"]
)
def test_a_name_that_could_be_misread_is_refused(name):
    with pytest.raises(ValidationError):
        _Names(name=name)


def test_a_name_cannot_be_taken_for_an_id():
    with pytest.raises(ValidationError, match="form of an id"):
        _Names(name=new_id("job"))


@pytest.mark.parametrize("label", ["Reise­büro".replace("\xad", ""), "旅行アシスタント", "عربي", "👩‍🔬", "a b"])
def test_a_label_may_be_in_any_language(label):
    assert _Labels(label=label).label == label


@pytest.mark.parametrize(
    "label", ["", "   ", "a\nb", "a\tb", "\x1b[31mred", "a\u202eb", "a\u200bb", "\ufeffa", "a\x85b", "x" * 101]
)
def test_a_label_with_something_unseen_is_refused(label):
    with pytest.raises(ValidationError):
        _Labels(label=label)


def test_a_note_may_have_lines_but_no_terminal_codes():
    assert _Notes(note="one\n\ttwo\r\n").note == "one\n\ttwo\r\n"
    with pytest.raises(ValidationError):
        _Notes(note="\x1b]0;title\x07")


@given(st.text(st.characters(codec=None), max_size=60))
def test_what_is_accepted_can_be_stored_and_logged(text):
    try:
        label = _Labels(label=text).label
    except ValidationError:
        return
    assert label.encode()
    assert "\x00" not in label
    assert label == label.strip() != ""
    assert len(label.splitlines()) == 1


@given(st.sampled_from(["job", "evt", "key"]), st.text(max_size=30))
def test_an_id_of_one_kind_is_none_of_another(prefix, text):
    assert is_id(new_id(prefix), prefix)
    assert not is_id(new_id(prefix), "prj")
    assert not is_id(f"prj_{text}", prefix)
