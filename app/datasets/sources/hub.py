"""The Hugging Face Hub as a source: a split of a dataset as the parquet files that the Hub keeps of it.

Source: Hub API as huggingface_hub 1.x calls it: `/api/datasets/{name}/revision/{revision}` (the commit),
`/api/datasets/{name}/tree/{commit}` (the files, with LFS's SHA-256), `/datasets/{name}/resolve/{commit}/{path}`
(the bytes, behind a redirect to a store); datasets-server documentation, "Parquet conversion".
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote, urlsplit

import orjson

from app.datasets.sources.places import Plan, SourceFile, SourceRefused, plain_refusal
from app.kit.web import Web, WebTrouble

CONVERTED: Final = "refs/convert/parquet"
"""The branch in which the Hub keeps every dataset as parquet: `{config}/{split}/0000.parquet`."""
LIST_BYTES_MAX: Final = 16 << 20
"""Above any page of a list: a thousand files of 300 bytes."""
PAGES_MAX: Final = 20
SHARDS_MAX: Final = 500
"""More files than a dataset of the largest size that is taken has."""
NAMED_MAX: Final = 20
"""Splits that an error names."""
_NEXT: Final = re.compile(r'<([^>]+)>;\s*rel="next"')
_PLACE: Final = re.compile(r"(?:(?P<folder>.+)/)?(?P<split>[\w.]+?)(?:-\d{5}-of-\d{5}(?:-[0-9a-f]+)?)?\.parquet")


@dataclass(frozen=True, slots=True)
class HubPlace:
    """One split of one dataset."""

    web: Web
    root: str
    """The Hub's URL without a trailing slash."""
    dataset: str
    config: str
    split: str
    revision: str | None
    """None: what the Hub has converted, and where it has not, what is in the repository."""
    token: str | None = field(default=None, repr=False)

    @property
    def headers(self) -> Mapping[str, str]:
        return {}

    def private(self) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}

    def url(self, file: SourceFile) -> str:
        return file.url

    def refusal(self, status: int, headers: Mapping[str, str]) -> SourceRefused:
        """Source: Hub API, `X-Error-Code`: RepoNotFound, GatedRepo, RevisionNotFound, EntryNotFound."""
        word = headers.get("x-error-code", "")
        if word == "GatedRepo" or status == 403:
            return SourceRefused(
                f"The Hub gives {self.dataset} only to people who have asked for it.",
                code="source_forbidden",
                hint="Accept its conditions on its page, and send a token of that account as `token`.",
            )
        if word == "RevisionNotFound":
            return SourceRefused(
                f"{self.dataset} has no revision {self.revision!r}.",
                code="source_not_found",
                hint="Leave `revision` out, or name a branch, a tag or a commit.",
            )
        if status in {401, 404}:
            return SourceRefused(
                f"The Hub has no dataset {self.dataset}, or does not show it without a token.",
                code="source_not_found",
                hint="Check owner and name; for a private dataset send `token`.",
            )
        return plain_refusal(status)

    def plan(self) -> Plan:
        commit, revision = self._commit()
        files = self._files(commit)
        shards = self._shards(files)
        partial = any("/partial-" in f"/{shard['path']}" for shard in shards)
        return Plan(
            files=[self._file(commit, shard) for shard in shards],
            lineage={"revision": revision, "commit": commit} | ({"partial": True} if partial else {}),
        )

    def _file(self, commit: str, shard: Mapping[str, Any]) -> SourceFile:
        lfs = shard.get("lfs")
        digest = lfs.get("oid") if isinstance(lfs, dict) else None
        size = shard.get("size")
        return SourceFile(
            name=str(shard["path"]).rpartition("/")[2],
            url=f"{self.root}/datasets/{self.dataset}/resolve/{commit}/{quote(str(shard['path']))}",
            bytes=size if isinstance(size, int) else None,
            sha256=digest if isinstance(digest, str) and re.fullmatch("[0-9a-f]{64}", digest) else None,
        )

    def _commit(self) -> tuple[str, str]:
        """The commit to read, so that every file and every later attempt is of the same one; and its name."""
        wanted = [self.revision] if self.revision else [CONVERTED, "main"]
        for revision in wanted:
            last = revision == wanted[-1]
            found = self._json(
                f"/api/datasets/{self.dataset}/revision/{quote(revision, safe='')}", optional=not last
            )
            if found is not None:
                commit = found[0].get("sha") if isinstance(found[0], dict) else None
                if not isinstance(commit, str) or not re.fullmatch("[0-9a-f]{7,64}", commit):
                    raise WebTrouble("The Hub's answer names no commit.")
                return commit, revision
        raise AssertionError("the last revision answers or raises")

    def _files(self, commit: str) -> list[Mapping[str, Any]]:
        """All parquet files of a commit."""
        path: str | None = f"/api/datasets/{self.dataset}/tree/{commit}?recursive=true&limit=1000"
        found: list[Mapping[str, Any]] = []
        for _ in range(PAGES_MAX):
            if path is None:
                break
            answer = self._json(path)
            assert answer is not None  # noqa: S101  only an optional one may be None
            page, path = answer
            if not isinstance(page, list):
                raise WebTrouble("The Hub's list of files is none.")
            found += [
                item
                for item in page
                if isinstance(item, dict)
                and item.get("type") == "file"
                and isinstance(item.get("path"), str)
                and item["path"].endswith(".parquet")
            ]
        return found

    def _shards(self, files: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        chosen = [file for file in files if self._is_ours(str(file["path"]))]
        if not chosen:
            there = sorted({" · ".join(place) for file in files if (place := _place_of(str(file["path"])))})
            listed = ", ".join(there[:NAMED_MAX]) or "no parquet files at all"
            raise SourceRefused(
                f"{self.dataset} has no parquet files of config {self.config!r}, split {self.split!r}.",
                code="source_not_found",
                hint=f"There is (config · split): {listed}.",
            )
        if len(chosen) > SHARDS_MAX:
            raise SourceRefused(
                f"The split has {len(chosen):,} files; at most {SHARDS_MAX} are brought.",
                code="source_too_large",
                hint="Choose a smaller config or split.",
            )
        return sorted(chosen, key=lambda file: str(file["path"]))

    def _is_ours(self, path: str) -> bool:
        place = _place_of(path)
        return place is not None and place == (self.config, self.split)

    def _json(self, path: str, *, optional: bool = False) -> tuple[Any, str | None] | None:
        """A JSON answer and the path of its next page. None when `optional` and not there."""
        with self.web.get(f"{self.root}{path}", headers={}, private=self.private()) as answer:
            if answer.status == 404 and optional:
                return None
            if answer.status == 429 or answer.status >= 500:
                raise WebTrouble(f"The Hub answers {answer.status}.")
            if answer.status != 200:
                raise self.refusal(answer.status, answer.headers)
            held = bytearray()
            for chunk in answer.chunks:
                held += chunk
                if len(held) > LIST_BYTES_MAX:
                    raise SourceRefused("The Hub's list of files is too long.", code="source_too_large")
            following = _NEXT.search(answer.headers.get("link", ""))
        try:
            return orjson.loads(held), self._path_of(following[1]) if following else None
        except orjson.JSONDecodeError:
            raise WebTrouble("The Hub's answer is no JSON.") from None

    def _path_of(self, url: str) -> str:
        """Of a next page; the token never leaves the Hub, so that another host's is asked for at the Hub."""
        parts = urlsplit(url)
        return f"{parts.path}?{parts.query}" if parts.query else parts.path


def _place_of(path: str) -> tuple[str, str] | None:
    """Config and split that a parquet file belongs to, by the Hub's names for folders and files.

    `config/split/0000.parquet` and `config/partial-split/0000.parquet` (converted),
    `data/split-00000-of-00002.parquet` and `config/split-00000-of-00002.parquet` (pushed by `datasets`); without a
    folder the config is `default`.
    Source: Hub documentation, "Structure your repository" and "Parquet conversion".
    """
    found = _PLACE.fullmatch(path)
    if found is None:
        return None
    folders = (found["folder"] or "").split("/") if found["folder"] else []
    split = found["split"]
    if split.isdigit() and folders:  # 0000.parquet: the folder is the split
        split = folders.pop().removeprefix("partial-")
    folders = [folder for folder in folders if folder != "data"]
    return "/".join(folders) or "default", split
