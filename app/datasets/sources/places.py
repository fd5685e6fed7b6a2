"""Where the bytes of a source are: which files, at which URLs, with which headers. It opens nothing but lists."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol
from urllib.parse import quote, unquote, urlsplit

from app.azure.port import Azure, Unauthorised
from app.workbench import Policy

BLOB_VERSION: Final = "2023-11-03"
"""`x-ms-version`, which a bearer token needs. Source: Microsoft Learn, Versioning for Azure Storage, 2025."""
_LOGIN_HOSTS: Final = ("github.com", "drive.google.com", "docs.google.com", "dropbox.com")


class SourceRefused(Exception):
    """The source cannot be brought, and trying again will not help.

    Attributes:
        code: stable word for programs.
        message: what is wrong, for people; it holds no URL and no secret.
        hint: what to do.
    """

    def __init__(self, message: str, *, code: str, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint

    def describe(self) -> dict[str, Any]:
        """As it is kept in a row."""
        return {"code": self.code, "message": self.message, "hint": self.hint}


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFile:
    """One file that a source holds.

    Attributes:
        name: what it is called there, without folders.
        url: where it is; empty where the sealed source says so.
        bytes: its size, if the source's list tells.
        sha256: of its content in hexadecimal, if the source's list tells.
    """

    name: str
    url: str = ""
    bytes: int | None = None
    sha256: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What there is to bring.

    Attributes:
        lineage: what the source said of itself, such as its revision.
    """

    files: Sequence[SourceFile]
    lineage: Mapping[str, Any] = field(default_factory=dict)


class Place(Protocol):
    """A source that can be brought."""

    def plan(self) -> Plan:
        """Which files. Raises `SourceRefused`, `WebTrouble`, `WebRefused`."""
        ...

    def url(self, file: SourceFile) -> str: ...

    @property
    def headers(self) -> Mapping[str, str]: ...

    def private(self) -> Mapping[str, str]:
        """Headers that go to the source's own host only. Raises `SourceRefused`."""
        ...

    def refusal(self, status: int, headers: Mapping[str, str]) -> SourceRefused:
        """What an answer means that is neither the bytes nor a passing trouble."""
        ...


@dataclass(frozen=True, slots=True)
class WebPlace:
    """Any URL."""

    address: str
    sha256: str | None = None

    headers: Mapping[str, str] = field(default_factory=dict)

    def plan(self) -> Plan:
        return Plan(files=[SourceFile(name=name_in(self.address), sha256=self.sha256)])

    def url(self, _file: SourceFile) -> str:
        return self.address

    def private(self) -> Mapping[str, str]:
        return {}

    def refusal(self, status: int, _headers: Mapping[str, str]) -> SourceRefused:
        return plain_refusal(status)


@dataclass(frozen=True, slots=True)
class SignedBlob(WebPlace):
    """A blob whose URL carries a shared access signature, or that anybody may read."""

    headers: Mapping[str, str] = field(default_factory=lambda: {"x-ms-version": BLOB_VERSION})

    def refusal(self, status: int, headers: Mapping[str, str]) -> SourceRefused:
        return blob_refusal(status, headers, hint="Make a new SAS with the right to read (sp=r) and a later end.")


@dataclass(frozen=True, slots=True)
class OwnBlob(WebPlace):
    """A blob read with this service's own Entra identity, where an operator allows it."""

    azure: Azure | None = None
    headers: Mapping[str, str] = field(default_factory=lambda: {"x-ms-version": BLOB_VERSION})

    def private(self) -> Mapping[str, str]:
        assert self.azure is not None  # noqa: S101  made by `own_blob` only
        try:
            token = self.azure.blob_token()
        except Unauthorised as error:
            raise SourceRefused(error.message, code=error.code, hint=error.hint) from None
        return {"Authorization": f"Bearer {token}"}

    def refusal(self, status: int, headers: Mapping[str, str]) -> SourceRefused:
        return blob_refusal(
            status, headers, hint="Give the service's identity the role Storage Blob Data Reader on the container."
        )


def own_blob(
    policy: Policy, azure: Azure, *, account: str, container: str, blob: str, sha256: str | None
) -> OwnBlob:
    """Raises `SourceRefused` where no operator has said that the service's identity may read this for projects."""
    if not {".", ".."}.isdisjoint(blob.split("/")):  # HTTP would take them for steps, out of the container too
        raise SourceRefused(
            "The blob's name has a part that is only dots.",
            code="blob_not_allowed",
            hint="Give its full name within the container, without . and .. between slashes.",
        )
    if not {account, f"{account}/{container}"} & policy.blob_accounts:
        raise SourceRefused(
            f"This service does not read the container {account}/{container} with its own identity.",
            code="blob_not_allowed",
            hint="Send the blob's URL with a SAS, or have the operator add it to KITAE_BLOB_ACCOUNTS.",
        )
    root = policy.blob_url.replace("{account}", account)
    return OwnBlob(f"{root}/{container}/{quote(blob)}", sha256, azure=azure)


def name_in(url: str) -> str:
    """The last part of a URL's path, as a file's name."""
    name = unquote(urlsplit(url).path.rpartition("/")[2])
    return "".join(letter for letter in name if letter.isprintable() and letter not in "/\\")[:200] or "download"


def without_secrets(url: str) -> str:
    """The URL as it may be shown: what stands behind `?` may be a signature."""
    head, mark, _ = url.partition("?")
    return f"{head}?…" if mark else head


# ── refusals ────────────────────────────────────────────────────────────────


def plain_refusal(status: int) -> SourceRefused:
    """What a server's no means."""
    if status in {401, 403, 407}:
        return SourceRefused(
            f"The source answers {status}: it wants a sign-in, or the signature in the URL is no longer good.",
            code="source_forbidden",
            hint="Use a signed URL that is still valid, or upload the file.",
        )
    if status in {404, 410}:
        return SourceRefused(
            f"The source answers {status}: there is nothing at this address.",
            code="source_not_found",
            hint="Open the URL in a private browser window: it must offer the file without a sign-in.",
        )
    return SourceRefused(f"The source answers {status}.", code="source_refused", hint="Try the URL by hand.")


def blob_refusal(status: int, headers: Mapping[str, str], *, hint: str) -> SourceRefused:
    """Azure's no, with its own word for it. Source: Microsoft Learn, Blob service REST, error codes, 2025."""
    word = headers.get("x-ms-error-code", "")
    named = f" ({word})" if word.isalnum() else ""
    if status in {401, 403}:
        return SourceRefused(
            f"Azure does not let us read the blob: {status}{named}.", code="source_forbidden", hint=hint
        )
    if status == 404:
        return SourceRefused(
            f"Azure has no such blob, or no such container{named}.",
            code="source_not_found",
            hint="Check account, container and the blob's full name; names tell upper from lower case.",
        )
    return SourceRefused(f"Azure answers {status}{named}.", code="source_refused", hint=hint)


def web_page(url: str) -> SourceRefused:
    """It was asked for data and answered with a page for people."""
    host = urlsplit(url).hostname or ""
    parts = urlsplit(url).path
    hint = "Give the URL of the file itself, the one behind its download button."
    if host == "huggingface.co" and "/blob/" in parts:
        hint = "On the Hub write /resolve/ where the URL has /blob/, or use the source type huggingface."
    elif host == "github.com" and "/blob/" in parts:
        hint = "On GitHub use the Raw button: write /raw/ where the URL has /blob/."
    elif host.endswith(_LOGIN_HOSTS):
        hint = f"{host} shows a page in front of the file. Download it yourself and upload it."
    return SourceRefused("The address answers with a web page, not with data.", code="source_is_a_page", hint=hint)
