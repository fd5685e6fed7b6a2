"""The client's ways in: an upload that was broken off goes on, a source is fetched. Against a service on a socket."""

from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import SecretStr
from servers import Project
from sqlalchemy import text

import examples
from app.cli.exits import Told
from app.cli.sources import source_of
from app.client import Client
from app.datasets.schemas import AzureBlobSource, DatasetCreate, HuggingFaceSource, UrlSource
from app.workbench import Workbench

LINES = examples.load("travel").training.read_bytes()


class PulledOut(Exception):
    """Somebody pulled the plug."""


def pulled_after(limit: int) -> Callable[[int, int], None]:
    def on_progress(sent: int, _total: int) -> None:
        if sent > limit:
            raise PulledOut

    return on_progress


def test_an_upload_that_was_broken_off_sends_only_what_is_missing(
    live_url: str, project: Project, bench: Workbench, tmp_path: Path
) -> None:
    file = tmp_path / "large.jsonl"
    file.write_bytes(LINES * (1 + (17 << 20) // len(LINES)))
    parts = text("SELECT upload_id, number, received_at FROM dataset_upload_parts ORDER BY number")
    with Client(live_url, project.secret) as client:
        client.datasets.create(DatasetCreate(name="large"))
        with pytest.raises(PulledOut):
            client.datasets.upload_in_parts("large", file, on_progress=pulled_after(8 << 20))
        with bench.read() as session:
            first = session.execute(parts).all()
        assert [row.number for row in first] == [1, 2]

        with pytest.raises(PulledOut):
            client.datasets.upload_in_parts("large", file, on_progress=pulled_after(16 << 20))
        with bench.read() as session:
            second = session.execute(parts).all()
        assert second[:2] == first, "what was there was not sent again"
        assert [row.number for row in second] == [1, 2, 3]

        version = client.datasets.upload_in_parts("large", file)
        assert (version.bytes, version.original_name) == (file.stat().st_size, "large.jsonl")
        again = client.datasets.upload_in_parts("large", file)
        assert again.id == version.id


def test_a_source_is_asked_for_with_its_secrets_and_told_without(live_url: str, project: Project) -> None:
    token = SecretStr("hf_" + "abcdefghij" * 3)
    with Client(live_url, project.secret) as client:
        client.datasets.create(DatasetCreate(name="hub"))
        source = HuggingFaceSource(type="huggingface", dataset="acme/travel", token=token)
        begun = client.datasets.fetch("hub", source, how={"mapping": "a=user,b=assistant"})
        assert (begun.status, "token" in begun.source) == ("fetching", False)
        assert [one.id for one in client.datasets.fetches("hub")] == [begun.id]
        client.datasets.cancel_fetch("hub", begun.id)
        assert client.datasets.get_fetch("hub", begun.id).status == "cancelled"


def named(words: str, **more: str) -> object:
    given = {
        "connection": None,
        "config": "default",
        "split": "train",
        "revision": None,
        "token": None,
        "sha256": None,
    }
    return source_of(words, **(given | more))


def test_a_source_on_the_command_line_is_known_by_its_scheme() -> None:
    assert isinstance(named("https://example.com/train.jsonl?x=1"), UrlSource)
    assert isinstance(named("https://ours.blob.core.windows.net/c/b?sig=x"), AzureBlobSource)
    blob = named("az://ours/training/a/b.jsonl", connection="prod")
    assert isinstance(blob, AzureBlobSource)
    assert (blob.account, blob.container, blob.blob) == ("ours", "training", "a/b.jsonl")
    hub = named("hf://datasets/acme/travel", split="test")
    assert isinstance(hub, HuggingFaceSource)
    assert (hub.dataset, hub.split) == ("acme/travel", "test")


@pytest.mark.parametrize("words", ["train.jsonl", "s3://bucket/key", "az://ours/training/x", "hf://../../etc"])
def test_what_names_no_source_is_told_before_anything_is_sent(words: str) -> None:
    with pytest.raises(Told):
        named(words)
