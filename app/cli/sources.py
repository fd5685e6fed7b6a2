"""Sources of datasets as they are named on the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pydantic import SecretStr, ValidationError

from app.cli.exits import Exit, Told
from app.datasets.schemas import AzureBlobSource, HuggingFaceSource, UrlSource
from app.kit.wire import in_words

if TYPE_CHECKING:
    from app.datasets.schemas import FetchedSource

_BLOB_HOSTS = (".blob.core.windows.net", ".blob.core.usgovcloudapi.net", ".blob.core.chinacloudapi.cn")


def source_of(
    text: str,
    *,
    connection: str | None,
    config: str,
    split: str,
    revision: str | None,
    token: str | None,
    sha256: str | None,
) -> FetchedSource:
    """What the text names. Raises `Told` (usage)."""
    scheme, _, rest = text.partition("://")
    try:
        if scheme == "hf":
            return HuggingFaceSource(
                type="huggingface",
                dataset=rest.removeprefix("datasets/").rstrip("/"),
                config=config,
                split=split,
                revision=revision,
                token=SecretStr(token) if token else None,
            )
        if scheme == "az":
            account, _, path = rest.partition("/")
            container, _, blob = path.partition("/")
            return AzureBlobSource(
                type="azure_blob",
                account=account,
                container=container,
                blob=blob,
                connection=connection,
                sha256=sha256,
            )
        if scheme in {"http", "https"}:
            if (urlsplit(text).hostname or "").endswith(_BLOB_HOSTS):
                return AzureBlobSource(type="azure_blob", url=text, sha256=sha256)
            return UrlSource(type="url", url=text, sha256=sha256)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(step) for step in first["loc"]) or "the source"
        raise Told(f"{place}: {in_words(first)}", code=Exit.USAGE) from None
    raise Told(
        "This names no source.",
        hint="Write https://…, az://ACCOUNT/CONTAINER/BLOB or hf://OWNER/DATASET.",
        code=Exit.USAGE,
    )
