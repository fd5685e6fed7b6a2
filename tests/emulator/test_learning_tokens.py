"""Text to tokens, offline, whatever the text."""

import gzip
from pathlib import Path

import pytest

from emulator.learning import count_tokens, tokens


def test_the_vocabulary_is_o200k_base():
    assert tokens.encode("hello world") == [24912, 2375]
    assert tokens.encoding().n_vocab == tokens.N_TOKENS


@pytest.mark.parametrize(
    "text",
    ["", "猫と犬🤗", "don't  stop\r\n\n\t!", "<|endoftext|>", "١٢٣ 1234567", "e\u0301 ﷺ 👩‍👩‍👧"],
)
def test_what_is_encoded_decodes_to_the_same_text(text: str):
    assert tokens.decode(tokens.encode(text)) == text


@pytest.mark.parametrize("character", [" ", "a", "!", "\n", "香", "\t ", "a\u0301"])
def test_a_megabyte_of_one_kind_of_character_is_counted(character: str):
    text = character * (1_000_000 // len(character))
    assert tokens.decode(tokens.encode(text)) == text
    assert 0 < count_tokens(text) <= len(text) * 2


def test_long_text_that_is_no_long_run_is_not_cut():
    text = "All work and no play makes Jack a dull boy. " * 2_000
    assert tokens.encode(text) == tokens.encoding().encode_ordinary(text)


def test_a_lone_surrogate_does_not_stop_the_count():
    assert count_tokens("a\ud800b") >= 2


def test_a_changed_vocabulary_file_is_refused(tmp_path: Path):
    changed = tmp_path / "o200k_base.tiktoken.gz"
    changed.write_bytes(gzip.compress(b"IQ== 0\n"))
    with pytest.raises(ValueError, match="restore the file"):
        tokens.load_encoding(changed)
