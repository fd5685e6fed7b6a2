"""Files, jobs, models and chat of one Azure OpenAI resource, through the openai SDK in both URL forms.

It decides nothing about when to ask again: every call is sent once, and what its failure means is said by
`app.azure.mapping`. The SDK builds and signs the requests; its response types are not used, because Azure's
answers (`pending`, nulls, absent fields, two back ends) do not fit them.
"""

import io
import re
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, BinaryIO, Final, TypeVar, cast
from urllib.parse import quote

import httpx2
import openai

from app.azure import payloads
from app.azure.credentials import BearerTokens
from app.azure.mapping import (
    CallKind,
    error_from_answer,
    error_from_garbage,
    error_from_silence,
    scrubbed,
)
from app.azure.port import (
    READ_TIMEOUT_SECONDS,
    ApiStyle,
    AzureTarget,
    ChatAnswer,
    Graded,
    GraderVerdict,
    NewRemoteJob,
    NotThere,
    Refused,
    RemoteCheckpoint,
    RemoteCopy,
    RemoteFile,
    RemoteJob,
    RemoteJobEvent,
    SentParts,
    Unauthorised,
    Unavailable,
)
from app.kit.safe_http import CONNECT_TIMEOUT_SECONDS, Guard, guarded_client

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

CHAT_TIMEOUT_SECONDS: Final = 120.0
"""For one chat answer, and between two pieces of a streamed one; a cold deployment needs its time."""
PARTS_FROM_BYTES: Final = 100 * 1000 * 1000
"""Files from this size on go up in parts. Source: Microsoft's azure-skills, large-file-uploads page,
2026-08: one-piece uploads above about 150 MB are accepted and fail later in the job."""
PART_BYTES: Final = 64 * 1024 * 1024
"""Source: authoring spec 2024-10-21, `POST /uploads/{id}/parts`: at most 64 MB each."""
UPLOADS_API_VERSION: Final = "2024-10-21"
"""The v1 form has no `/uploads`; this stable dated version has. Source: v1 OpenAPI 2026-02-02."""
DOWNLOAD_BYTES_PER_SECOND: Final = 100_000
"""A file's content that comes more slowly than this is given up; the next try may have a better line."""
FILES_PAGE: Final = 1000
EVENTS_PAGE: Final = 100
COPY_PREVIEW: Final = "aoai-copy-ft-checkpoints"
"""Header of a feature in preview. Source: v1 OpenAPI 2026-02-02."""
MAX_PAGES: Final = 1000
"""A list that never ends is a fault of the other side."""
MAX_STREAM_BYTES: Final = 32 * 1024 * 1024
"""Above any chat answer: 16,384 tokens in pieces of about 400 bytes are 7 MB."""

MAX_REMEMBERED_DEPLOYMENTS: Final = 1000
"""How many deployments' refused chat parameters are remembered before starting afresh."""
DATED_METHOD_SINCE: Final = "2025-04-01"
"""The first dated api-version with `method`."""
OPTIONAL_PARAMETERS: Final = ("max_tokens", "max_completion_tokens", "temperature", "seed", "stream_options")
"""Chat parameters that some models refuse: reasoning models take `max_completion_tokens` and no temperature,
open models know only `max_tokens`. Source: Microsoft Learn, reasoning models page, 2026."""

_METADATA_MAX: Final = 16
"""Source: v1 OpenAPI 2026-02-02, `metadata`."""
_UNSUPPORTED: Final = re.compile(
    r"(?:not|un)[- ]?support|does not support|unrecogni[sz]ed|unknown|extra inputs|not permitted", re.IGNORECASE
)

_Files = list[tuple[str, tuple[str, BinaryIO | bytes, str]]]
"""(form field, (file name, content, content type)), as the SDK takes them."""
Parsed = TypeVar("Parsed")
Piece = TypeVar("Piece")


class OpenAIDataPlane:
    """`DataPlane` of one resource. Safe to share between threads; `close` when it is no longer needed."""

    def __init__(
        self,
        target: AzureTarget,
        *,
        guard: Guard,
        tokens: BearerTokens | None,
        dated_tokens: BearerTokens | None = None,
        timeout_seconds: float = READ_TIMEOUT_SECONDS,
        chat_timeout_seconds: float = CHAT_TIMEOUT_SECONDS,
        part_bytes: int = PART_BYTES,
        parts_from_bytes: int = PARTS_FROM_BYTES,
    ) -> None:
        """Opens nothing yet; connections are made by the first call.

        Args:
            target: the resource; its api key is used when `tokens` is None.
            guard: which addresses may be reached.
            tokens: Entra tokens, or None for the api key.
            dated_tokens: Entra tokens for what a `v1` resource does through the dated form, whose scope is
                another one; None = `tokens`.
            timeout_seconds: for every call but chat.
            chat_timeout_seconds: for chat.
            part_bytes: size of one part of a large file.
            parts_from_bytes: files from this size on go up in parts.

        Raises:
            Refused: the target lacks a key or an api-version.
        """
        if tokens is None and not target.api_key:
            raise Unauthorised(
                "The connection has no api key",
                code="azure_no_credential",
                hint="Store a key with the connection, or let it use Entra.",
            )
        if target.api_style is ApiStyle.DATED and not target.api_version:
            raise Refused(
                "The connection speaks the dated form but names no api-version",
                code="azure_api_version_missing",
                hint="Set it to 2024-10-21 or 2025-04-01-preview, or use api style `v1`.",
            )
        self._dated = target.api_style is ApiStyle.DATED
        self._endpoint = target.endpoint.rstrip("/")
        self._api_version = target.api_version
        self._key = target.api_key if tokens is None else None
        self._tokens = tokens
        self._dated_tokens = dated_tokens or tokens
        self._timeout_seconds = timeout_seconds
        self._chat_timeout_seconds = chat_timeout_seconds
        self._part_bytes = part_bytes
        self._parts_from_bytes = parts_from_bytes
        self._whole = guarded_client(guard, timeout_seconds=max(timeout_seconds, chat_timeout_seconds))
        self._streams = guarded_client(guard, timeout_seconds=chat_timeout_seconds, max_response_bytes=None)
        self._closer = weakref.finalize(self, _close, self._whole, self._streams)
        self._sdk = self._make_sdk(self._whole, self._api_version if self._dated else None)
        self._stream_sdk = self._make_sdk(self._streams, self._api_version if self._dated else None)
        self._uploads_sdk = self._sdk if self._dated else self._make_sdk(self._whole, UPLOADS_API_VERSION)
        self._refused_parameters: dict[str, frozenset[str]] = {}

    def __repr__(self) -> str:
        return f"OpenAIDataPlane({self._endpoint!r})"

    def close(self) -> None:
        """Closes the connections; calls after it fail. Happens by itself when nobody holds the plane."""
        self._closer()

    # Files

    def upload_file(
        self,
        *,
        filename: str,
        content: BinaryIO,
        purpose: str,
        sent: SentParts | None = None,
        keep: Callable[[SentParts], None] | None = None,
    ) -> RemoteFile:
        size = content.seek(0, 2)
        content.seek(0)
        if sent is not None or size >= self._parts_from_bytes:
            return self._upload_in_parts(filename, content, purpose, size, sent, keep or _keep_nothing)
        response = self._send(
            CallKind.CREATE,
            f"uploading {filename}",
            "POST",
            "/files",
            body={"purpose": purpose},
            files=[("file", (filename, content, "application/jsonl"))],
        )
        return self._read(CallKind.CREATE, f"uploading {filename}", response, payloads.file_from)

    def get_file(self, remote_id: str) -> RemoteFile:
        what = f"reading file {remote_id}"
        return self._read(CallKind.READ, what, self._get(what, f"/files/{_id(remote_id)}"), payloads.file_from)

    def list_files(self, *, purpose: str) -> Iterator[RemoteFile]:
        query: dict[str, Any] = {"purpose": purpose}
        if self._dated:
            query["limit"] = FILES_PAGE
        for page in self._pages("listing files", "/files", query):
            yield from self._each("listing files", page, payloads.file_from)

    def delete_file(self, remote_id: str) -> None:
        try:
            self._send(CallKind.READ, f"deleting file {remote_id}", "DELETE", f"/files/{_id(remote_id)}")
        except NotThere:
            return

    def file_content(self, remote_id: str, *, max_bytes: int) -> bytes:
        held = bytearray()
        self.read_file(remote_id, held.extend, max_bytes=max_bytes)
        return bytes(held)

    def read_file(self, remote_id: str, write: Callable[[bytes], object], *, max_bytes: int) -> None:
        what = f"reading the content of file {remote_id}"
        received = 0
        until = time.monotonic() + self._timeout_seconds
        with closing(self._open(what, "GET", f"/files/{_id(remote_id)}/content")) as response:
            for chunk in self._chunks(what, response.iter_bytes()):
                received += len(chunk)
                if time.monotonic() > until + received / DOWNLOAD_BYTES_PER_SECOND:
                    raise Unavailable(
                        f"The answer to {what} came too slowly", code="azure_timeout", hint="It is tried again."
                    )
                if received > max_bytes:
                    raise Refused(
                        f"File {remote_id} is larger than {max_bytes:,} bytes",
                        code="azure_file_too_large",
                        hint="Raise the limit for downloads, or fetch the file in the portal.",
                    )
                write(chunk)

    # Jobs

    def create_job(self, new: NewRemoteJob) -> RemoteJob:
        what = f"creating a job for {new.model}"
        response = self._send(CallKind.CREATE, what, "POST", "/fine_tuning/jobs", body=self._job_body(new))
        return self._read(CallKind.CREATE, what, response, payloads.job_from)

    def get_job(self, remote_id: str) -> RemoteJob:
        what = f"reading job {remote_id}"
        response = self._get(what, f"/fine_tuning/jobs/{_id(remote_id)}")
        return self._read(CallKind.READ, what, response, payloads.job_from)

    def list_jobs(self, *, page_size: int = 100, after: str | None = None) -> Iterator[Sequence[RemoteJob]]:
        for page in self._pages("listing jobs", "/fine_tuning/jobs", {"limit": page_size}, after=after):
            yield self._each("listing jobs", page, payloads.job_from)

    def cancel_job(self, remote_id: str) -> RemoteJob:
        return self._act_on_job(remote_id, "cancel")

    def pause_job(self, remote_id: str) -> RemoteJob:
        return self._act_on_job(remote_id, "pause")

    def resume_job(self, remote_id: str) -> RemoteJob:
        return self._act_on_job(remote_id, "resume")

    def job_events(self, remote_id: str, *, known: frozenset[str], max_pages: int = 50) -> list[RemoteJobEvent]:
        what, path = f"reading the events of job {remote_id}", f"/fine_tuning/jobs/{_id(remote_id)}/events"
        fresh: dict[str, RemoteJobEvent] = {}
        for page in self._pages(what, path, {"limit": EVENTS_PAGE}, max_pages=max_pages):
            events = self._each(what, page, payloads.event_from)
            fresh |= {event.remote_id: event for event in events if event.remote_id not in known}
            met_known = any(event.remote_id in known for event in events)
            if met_known and not payloads.is_oldest_first(events):
                break
        return payloads.oldest_first(list(fresh.values()))

    def checkpoints(self, remote_id: str) -> list[RemoteCheckpoint]:
        what = f"reading the checkpoints of job {remote_id}"
        path = f"/fine_tuning/jobs/{_id(remote_id)}/checkpoints"
        found = [
            checkpoint
            for page in self._pages(what, path, {"limit": 100})
            for checkpoint in self._each(what, page, payloads.checkpoint_from)
        ]
        return sorted(found, key=lambda checkpoint: checkpoint.step)

    def copy_checkpoint(
        self, remote_id: str, checkpoint_id: str, *, destination_id: str, region: str
    ) -> list[RemoteCopy]:
        """Source: v1 OpenAPI 2026-02-02, `FineTuning_CopyCheckpoint`."""
        what = f"copying checkpoint {checkpoint_id}"
        body = {"destinationResourceId": destination_id, "region": region}
        path = self._copy_path(remote_id, checkpoint_id)
        answered = self._send(CallKind.CREATE, what, "POST", path, body=body)
        return self._read(CallKind.CREATE, what, answered, payloads.copies_from)

    def checkpoint_copies(self, remote_id: str, checkpoint_id: str) -> list[RemoteCopy]:
        """Source: v1 OpenAPI 2026-02-02, `FineTuning_GetCheckpoint`."""
        what = f"reading the copies of checkpoint {checkpoint_id}"
        path = self._copy_path(remote_id, checkpoint_id)
        answered = self._send(CallKind.READ, what, "GET", path)
        return self._read(CallKind.READ, what, answered, payloads.copies_from)

    def _copy_path(self, remote_id: str, checkpoint_id: str) -> str:
        if self._dated:
            raise Refused(
                "The dated api-versions cannot copy checkpoints",
                code="azure_copy_unsupported",
                hint="Use a connection to the source with the api style `v1`.",
            )
        return f"/fine_tuning/jobs/{_id(remote_id)}/checkpoints/{_id(checkpoint_id)}/copy"

    # Graders

    def validate_grader(self, grader: Mapping[str, Any]) -> GraderVerdict:
        what = "validating the grader"
        try:
            response = self._grading(what, "validate", {"grader": dict(grader)})
        except Refused as exc:
            if exc.http_status not in {400, 422}:
                raise
            return GraderVerdict(accepted=False, message=exc.message, raw=exc.remote)
        raw = self._read(CallKind.READ, what, response, lambda found: found)
        return GraderVerdict(accepted=True, message="", raw=raw)

    def run_grader(self, grader: Mapping[str, Any], *, item: Mapping[str, Any], answer: str) -> Graded:
        what = "running the grader"
        body = {"grader": dict(grader), "item": dict(item), "model_sample": answer}
        started = time.perf_counter()
        response = self._grading(what, "run", body)
        latency_seconds = time.perf_counter() - started
        return self._read(
            CallKind.READ, what, response, lambda raw: payloads.graded_from(raw, latency_seconds=latency_seconds)
        )

    def _grading(self, what: str, verb: str, body: Mapping[str, Any]) -> httpx2.Response:
        """Only v1 has these routes, under `alpha`. Source: v1 OpenAPI 2026-02-02; absent from the dated specs."""
        if self._dated:
            raise Refused(
                f"api-version {self._api_version} knows no graders",
                code="azure_graders_unsupported",
                hint="Set the connection's api style to `v1`.",
            )
        return self._send(
            CallKind.READ,
            what,
            "POST",
            f"/fine_tuning/alpha/graders/{verb}",
            body=body,
            timeout_seconds=self._chat_timeout_seconds,
        )

    # Models and chat

    def list_models(self) -> list[Mapping[str, Any]]:
        what = "listing models"
        page = self._read(CallKind.READ, what, self._get(what, "/models"), lambda raw: raw)
        return list(self._each(what, page, lambda raw: raw))

    def chat(
        self,
        *,
        deployment: str,
        messages: Sequence[Mapping[str, Any]],
        max_tokens: int | None = None,
        temperature: float | None = None,
        seed: int | None = None,
    ) -> ChatAnswer:
        what = f"asking deployment {deployment}"
        body = _chat_body(deployment, messages, max_tokens, temperature, seed)
        started = time.perf_counter()
        response = self._asking(
            deployment,
            body,
            lambda fitted: self._send(
                CallKind.READ,
                what,
                "POST",
                "/chat/completions",
                body=fitted,
                timeout_seconds=self._chat_timeout_seconds,
            ),
        )
        latency_seconds = time.perf_counter() - started
        raw = self._read(CallKind.READ, what, response, lambda found: found)
        return _chat_answer(raw, latency_seconds)

    @contextmanager
    def chat_stream(
        self,
        *,
        deployment: str,
        messages: Sequence[Mapping[str, Any]],
        max_tokens: int | None = None,
        temperature: float | None = None,
        seed: int | None = None,
    ) -> Iterator[Iterator[Mapping[str, Any]]]:
        what = f"asking deployment {deployment}"
        body = _chat_body(deployment, messages, max_tokens, temperature, seed)
        body |= {"stream": True, "stream_options": {"include_usage": True}}
        response = self._asking(
            deployment, body, lambda fitted: self._open(what, "POST", "/chat/completions", body=fitted)
        )
        try:
            yield self._chat_chunks(what, response)
        finally:
            response.close()

    # How a request is made, sent and read

    def _make_sdk(self, http_client: httpx2.Client, api_version: str | None) -> openai.OpenAI:
        """The SDK's client for one URL form; never retries, because our database does."""
        if api_version is None:
            return openai.OpenAI(
                base_url=f"{self._endpoint}/openai/v1/",
                api_key=self._key or self._tokens,
                max_retries=0,
                timeout=self._timeout_seconds,
                http_client=http_client,
            )
        return openai.AzureOpenAI(
            azure_endpoint=self._endpoint,
            api_version=api_version,
            api_key=self._key,
            azure_ad_token_provider=self._dated_tokens,
            max_retries=0,
            timeout=self._timeout_seconds,
            http_client=http_client,
        )

    def _headers(self, *, multipart: bool) -> dict[str, str | openai.Omit]:
        """Per-request headers: the key as Azure names it in both forms, and nothing from OPENAI_* variables.

        Source: v1 OpenAPI 2026-02-02, security schemes `api-key` and `authorization`.
        """
        headers: dict[str, str | openai.Omit] = {
            "OpenAI-Organization": openai.Omit(),
            "OpenAI-Project": openai.Omit(),
        }
        if self._key is not None:
            headers |= {"api-key": self._key, "Authorization": openai.Omit()}
        if multipart:
            headers["Content-Type"] = "multipart/form-data"
        return headers

    def _get(self, what: str, path: str) -> httpx2.Response:
        return self._send(CallKind.READ, what, "GET", path)

    def _send(
        self,
        kind: CallKind,
        what: str,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, Any] | None = None,
        files: _Files | None = None,
        timeout_seconds: float | None = None,
    ) -> httpx2.Response:
        """Sends once (twice when an Entra token was refused and could be renewed); the body is read.

        Raises:
            AzureError: as the port says, for anything but a 2xx.
        """
        request = _Request(
            method=method,
            path=path,
            options={
                "headers": self._headers(multipart=files is not None)
                | ({COPY_PREVIEW: "preview"} if path.endswith("/copy") else {}),
                "params": dict(query or {}),
                "timeout": _timeout(timeout_seconds or self._timeout_seconds),
            },
            body=body,
            files=files,
        )
        sdk = self._uploads_sdk if path.startswith("/uploads") else self._sdk
        return self._delivered(kind, what, sdk, request)

    def _open(self, what: str, method: str, path: str, *, body: Mapping[str, Any] | None = None) -> httpx2.Response:
        """As `_send`, with the body still to be read; the caller closes the response."""
        request = _Request(
            method=method,
            path=path,
            options={"headers": self._headers(multipart=False), "timeout": _timeout(self._chat_timeout_seconds)},
            body=body,
            files=None,
            stream=True,
        )
        return self._delivered(CallKind.READ, what, self._stream_sdk, request)

    def _delivered(self, kind: CallKind, what: str, sdk: openai.OpenAI, request: "_Request") -> httpx2.Response:
        tokens = self._dated_tokens if sdk is self._uploads_sdk else self._tokens
        answer = request.once(sdk)
        if isinstance(answer, httpx2.Response) and answer.status_code == 401 and tokens is not None:
            used = answer.request.headers.get("authorization", "").removeprefix("Bearer ")
            if tokens.renew(used):
                answer = request.once(sdk)
        if not isinstance(answer, httpx2.Response):
            raise error_from_silence(kind=kind, what=what, cause=answer.cause)
        if answer.is_success:
            return answer
        raise error_from_answer(
            kind=kind,
            what=what,
            status=answer.status_code,
            headers=answer.headers,
            body=answer.content,
            secrets=self._secrets(answer),
        )

    def _secrets(self, answer: httpx2.Response) -> list[str]:
        bearer = answer.request.headers.get("authorization", "").removeprefix("Bearer ")
        return [secret for secret in (self._key, bearer) if secret]

    def _read(
        self,
        kind: CallKind,
        what: str,
        response: httpx2.Response,
        parse: Callable[[dict[str, Any]], Parsed],
    ) -> Parsed:
        """The answer as a value of ours; an unreadable success is as doubtful as none."""
        try:
            return parse(payloads.decode_object(response.content))
        except payloads.UnreadableAnswerError:
            unreadable = error_from_garbage(
                kind=kind,
                what=what,
                status=response.status_code,
                body=response.content,
                secrets=self._secrets(response),
            )
        raise unreadable

    def _each(self, what: str, page: Mapping[str, Any], parse: Callable[[dict[str, Any]], Parsed]) -> list[Parsed]:
        """Every object of a page; one that cannot be read spoils the page, because a list with a hole in
        it would let the creation protocol believe that a job does not exist.
        """
        try:
            return [parse(item) for item in payloads.items_of(page)]
        except payloads.UnreadableAnswerError as exc:
            reason = str(exc)
        raise Unavailable(
            f"Azure's answer to {what} could not be read: {reason}",
            code="azure_unreadable_answer",
            hint="It is tried again.",
            remote={"text": str(page)[:4000]},
        )

    def _pages(
        self,
        what: str,
        path: str,
        query: Mapping[str, Any],
        *,
        after: str | None = None,
        max_pages: int = MAX_PAGES,
    ) -> Iterator[dict[str, Any]]:
        """The pages of a list, or of what comes after one id in it, each fetched when it is asked for.

        Raises:
            Unavailable: the pages do not come to an end, or one cannot be read.
        """
        seen: set[str] = set()
        for number in range(max_pages):
            params = {**query, "after": after} if after else query
            page = self._read(
                CallKind.READ, what, self._send(CallKind.READ, what, "GET", path, query=params), lambda raw: raw
            )
            yield page
            items = page.get("data")
            last = (
                items[-1].get("id") if isinstance(items, list) and items and isinstance(items[-1], dict) else None
            )
            if not page.get("has_more"):
                return
            if not isinstance(last, str) or last in seen:
                raise Unavailable(
                    f"Azure's pages do not go on while {what} (page {number + 1})",
                    code="azure_paging_broken",
                    hint="It is tried again.",
                )
            seen.add(last)
            after = last
        if max_pages == MAX_PAGES:
            raise Unavailable(
                f"Azure's list has no end while {what}", code="azure_paging_broken", hint="It is tried again."
            )

    def _chunks(self, what: str, pieces: Iterator[Piece]) -> Iterator[Piece]:
        """The pieces of a body, with a broken connection told as an error of ours."""
        while True:
            try:
                piece = next(pieces, None)
            except httpx2.HTTPError as exc:
                broken = error_from_silence(kind=CallKind.READ, what=what, cause=exc)
                break
            if piece is None:
                return
            yield piece
        raise broken

    # What each call needs

    def _upload_in_parts(
        self,
        filename: str,
        content: BinaryIO,
        purpose: str,
        size: int,
        sent: SentParts | None,
        keep: Callable[[SentParts], None],
    ) -> RemoteFile:
        """Only `complete` makes a file, so only its loss leaves the outcome open; an upload that was never
        completed expires after two hours. Source: authoring spec 2024-10-21, uploads.
        """
        what = f"uploading {filename} in parts"
        if sent is None:
            start = {"filename": filename, "purpose": purpose, "bytes": size, "mime_type": "application/json"}
            opened = self._send(CallKind.READ, what, "POST", "/uploads", body=start)
            upload_id = self._read(CallKind.READ, what, opened, payloads.required_id)
            sent = SentParts(upload_id=upload_id, part_bytes=self._part_bytes)
            keep(sent)
        upload = f"/uploads/{_id(sent.upload_id)}"
        for start_byte in range(len(sent.part_ids) * sent.part_bytes, size, sent.part_bytes):
            window = _Window(content, start_byte, min(sent.part_bytes, size - start_byte))
            answered = self._send(
                CallKind.READ,
                what,
                "POST",
                f"{upload}/parts",
                files=[("data", (filename, io.BufferedReader(window), "application/octet-stream"))],
            )
            part_id = self._read(CallKind.READ, what, answered, payloads.required_id)
            sent = replace(sent, part_ids=(*sent.part_ids, part_id))
            keep(sent)
        keep(replace(sent, completing=True))
        done = self._send(
            CallKind.CREATE,
            what,
            "POST",
            f"{upload}/complete",
            body={"part_ids": list(sent.part_ids)},
        )
        return self._read(CallKind.CREATE, what, done, payloads.uploaded_file_from)

    def _act_on_job(self, remote_id: str, verb: str) -> RemoteJob:
        what = f"asking to {verb} job {remote_id}"
        response = self._send(CallKind.READ, what, "POST", f"/fine_tuning/jobs/{_id(remote_id)}/{verb}")
        return self._read(CallKind.READ, what, response, payloads.job_from)

    def _job_body(self, new: NewRemoteJob) -> dict[str, Any]:
        chosen = {name: value for name, value in new.hyperparameters.items() if value != "auto"}
        body: dict[str, Any] = {
            "model": new.model,
            "training_file": new.training_file,
            "validation_file": new.validation_file,
            "suffix": new.suffix,
            "seed": new.seed,
            "trainingType": new.training_type,
        }
        if self._dated:
            body |= self._dated_method(new, chosen)
        else:
            if len(new.metadata) > _METADATA_MAX:
                raise ValueError(f"a job carries at most {_METADATA_MAX} metadata pairs")
            settings = {**new.method_settings, "hyperparameters": chosen} if chosen else dict(new.method_settings)
            body["method"] = {"type": new.method, new.method: settings}
            body["metadata"] = dict(new.metadata) or None
        return {name: value for name, value in body.items() if value is not None}

    def _dated_method(self, new: NewRemoteJob, chosen: Mapping[str, int | float | str]) -> dict[str, Any]:
        """The dated form knows `method.type` from 2025-04-01-preview on, and numbers beside it.

        Source: authoring specs 2024-10-21 (no `method`) and 2025-04-01-preview (`supervised`, `dpo`).
        """
        numbers = {name: value for name, value in chosen.items() if not isinstance(value, str)}
        fields: dict[str, Any] = {"hyperparameters": numbers} if numbers else {}
        knows_method = (self._api_version or "") >= DATED_METHOD_SINCE
        if new.method == "supervised" or (new.method == "dpo" and knows_method):
            return fields | ({"method": {"type": new.method}} if knows_method else {})
        raise Refused(
            f"api-version {self._api_version} cannot train with the method {new.method}",
            code="azure_method_unsupported",
            hint="Set the connection's api style to `v1`"
            + (", or its api-version to 2025-04-01-preview." if new.method == "dpo" else "."),
        )

    def _asking(
        self,
        deployment: str,
        body: dict[str, Any],
        send: Callable[[dict[str, Any]], httpx2.Response],
    ) -> httpx2.Response:
        """Sends a chat request, renaming or leaving out what this deployment turns out to refuse.

        A refused request costs nothing. What was learnt is kept for the life of this client.
        """
        refused = set(self._refused_parameters.get(deployment, ()))
        learnt: set[str] = set()
        while True:
            fitted = _without(body, refused)
            try:
                return send(fitted)
            except Refused as exc:
                parameter = _refused_parameter(exc, fitted)
                if parameter is None or parameter in learnt:
                    raise
                learnt.add(parameter)
                if parameter == "max_completion_tokens" and "max_tokens" in learnt:
                    raise  # it takes a limit by neither name, and an answer without limit was not asked for
            if parameter == "max_completion_tokens" and "max_tokens" in refused:
                refused.discard("max_tokens")  # remembered of another model that had this deployment's name
            else:
                refused.add(parameter)
            if len(self._refused_parameters) >= MAX_REMEMBERED_DEPLOYMENTS:
                self._refused_parameters.clear()
            self._refused_parameters[deployment] = frozenset(refused)

    def _chat_chunks(self, what: str, response: httpx2.Response) -> Iterator[Mapping[str, Any]]:
        seen_bytes, finished = 0, False
        for event in self._chunks(what, iter(httpx2.EventSource(response))):
            if event.data.strip() == "[DONE]":
                return
            seen_bytes += len(event.data)
            chunk = self._chat_chunk(what, event.data, seen_bytes)
            finished = finished or any(choice.get("finish_reason") for choice in _objects(chunk.get("choices")))
            yield chunk
        if not finished:
            raise Unavailable(f"The answer to {what} broke off", code="azure_stream_broken", hint="Ask again.")

    def _chat_chunk(self, what: str, data: str, seen_bytes: int) -> dict[str, Any]:
        if seen_bytes > MAX_STREAM_BYTES:
            raise Unavailable(
                f"The answer to {what} is longer than {MAX_STREAM_BYTES:,} bytes",
                code="azure_answer_too_large",
                hint="Set max_tokens.",
            )
        try:
            chunk = payloads.decode_object(data.encode())
        except payloads.UnreadableAnswerError:
            chunk = {"error": {"message": "a piece of the stream is not JSON"}}
        if not chunk.get("error"):
            return chunk
        said = scrubbed(str(chunk["error"]), [self._key or ""])[:600]
        raise Unavailable(
            f"Azure ended the answer to {what} with an error: {said}",
            code="azure_stream_failed",
            hint="Ask again.",
            remote={"text": said},
        )


class _Window(io.RawIOBase):
    """One stretch of a file as a file, so that a part of 64 MB is never held in memory."""

    def __init__(self, content: BinaryIO, first_byte: int, size: int) -> None:
        super().__init__()
        self._content = content
        self._first_byte = first_byte
        self._size = size
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = min(max(0, start + offset), self._size)
        return self._at

    def readinto(self, buffer: "WriteableBuffer") -> int:
        view = memoryview(buffer)
        self._content.seek(self._first_byte + self._at)
        piece = self._content.read(min(len(view), self._size - self._at))
        view[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)


class _Silence:
    """No whole answer came; why, as httpx2 tells it."""

    def __init__(self, cause: BaseException | None) -> None:
        self.cause = cause


@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    """One request, ready to be sent through either of the SDK's clients."""

    method: str
    path: str
    options: Any
    body: Mapping[str, Any] | None
    files: _Files | None
    stream: bool = False

    def once(self, sdk: openai.OpenAI) -> httpx2.Response | _Silence:
        """Sends it once. The SDK's exceptions end here: they hold the request and with it the key."""
        for _, (_, content, _) in self.files or ():
            if not isinstance(content, bytes):
                content.seek(0)
        try:
            return self._through(sdk)
        except openai.APIStatusError as exc:
            return exc.response
        except openai.APIConnectionError as exc:
            return _Silence(exc.__cause__)
        except httpx2.HTTPError as exc:  # while the SDK read the body of a refusal
            return _Silence(exc)

    def _through(self, sdk: openai.OpenAI) -> httpx2.Response:
        if self.method == "GET":
            return cast(
                "httpx2.Response",
                sdk.get(
                    self.path,
                    cast_to=httpx2.Response,
                    options=self.options,
                    stream=self.stream,
                    stream_cls=openai.Stream[object],
                ),
            )
        if self.method == "DELETE":
            return sdk.delete(self.path, cast_to=httpx2.Response, options=self.options)
        return cast(
            "httpx2.Response",
            sdk.post(
                self.path,
                cast_to=httpx2.Response,
                body=self.body,
                options=self.options,
                files=self.files,
                stream=self.stream,
                stream_cls=openai.Stream[object],
            ),
        )


def _close(*clients: httpx2.Client) -> None:
    for client in clients:
        client.close()


def _timeout(seconds: float) -> httpx2.Timeout:
    return httpx2.Timeout(seconds, connect=min(seconds, CONNECT_TIMEOUT_SECONDS))


def _keep_nothing(_sent: SentParts) -> None:
    """For a caller that would begin anew after a crash."""


def _id(remote_id: str) -> str:
    """An id as one segment of a path, whatever is in it."""
    if not remote_id or remote_id in {".", ".."}:
        raise ValueError(f"{remote_id!r} is not an id")
    return quote(remote_id, safe="")


def _chat_body(
    deployment: str,
    messages: Sequence[Mapping[str, Any]],
    max_tokens: int | None,
    temperature: float | None,
    seed: int | None,
) -> dict[str, Any]:
    body: dict[str, Any] = {"model": deployment, "messages": [dict(message) for message in messages]}
    optional = {"max_tokens": max_tokens, "temperature": temperature, "seed": seed}
    return body | {name: value for name, value in optional.items() if value is not None}


def _without(body: Mapping[str, Any], refused: set[str]) -> dict[str, Any]:
    """The body without the refused parameters; a limit on tokens moves to its other name if that is free."""
    fitted = {name: value for name, value in body.items() if name not in refused}
    if "max_tokens" in refused and "max_tokens" in body and "max_completion_tokens" not in refused:
        fitted["max_completion_tokens"] = body["max_tokens"]
    return fitted


def _refused_parameter(refusal: Refused, sent: Mapping[str, Any]) -> str | None:
    """The optional parameter Azure refuses, when that is all it complains of."""
    if refusal.http_status not in {400, 422}:
        return None
    error = refusal.remote.get("error")
    named = error.get("param") if isinstance(error, dict) else None
    words = set(re.findall(r"[a-z_]+", refusal.message)) if _UNSUPPORTED.search(refusal.message) else set()
    for parameter in OPTIONAL_PARAMETERS:
        if parameter in sent and (parameter == named or (named is None and parameter in words)):
            return parameter
    return None


def _objects(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _chat_answer(raw: Mapping[str, Any], latency_seconds: float) -> ChatAnswer:
    choice = next(iter(_objects(raw.get("choices"))), {})
    message = next(iter(_objects([choice.get("message")])), {})
    usage = next(iter(_objects([raw.get("usage")])), {})
    text, reason = message.get("content"), choice.get("finish_reason")
    prompt, completion = usage.get("prompt_tokens"), usage.get("completion_tokens")
    return ChatAnswer(
        text=text if isinstance(text, str) else "",
        finish_reason=reason if isinstance(reason, str) else None,
        prompt_tokens=prompt if isinstance(prompt, int) else 0,
        completion_tokens=completion if isinstance(completion, int) else 0,
        latency_seconds=latency_seconds,
        raw=raw,
    )
