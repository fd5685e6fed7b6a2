"""Every setting, typed, with its unit and its meaning. Read only at the doors and in `app.bootstrap`.

Each is an environment variable `KITAE_…`, or a line of a file named `.env` in the working directory.
"""

from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from app.workbench import Policy

LEASE_MARGIN_SECONDS: Final = 10.0
"""A lease outlasts the longest call by this: for what is written before and after it."""
LIST_LAG_SECONDS: Final = 60.0
"""How long Azure's list may lag behind a create. Not documented; this is assumed for as long as nobody saw more."""
TEST_ENVIRONMENT: Final = "test"
"""KITAE_ENVIRONMENT of installations whose times are shortened on purpose: contradictions are let through there."""


class Settings(BaseSettings):
    """Kitae's settings."""

    model_config = SettingsConfigDict(env_prefix="KITAE_", env_file=".env", extra="ignore", frozen=True)

    # where things are
    database_url: SecretStr | None = None
    """PostgreSQL, `postgresql://user:password@host:5432/name`. Unset: an embedded server in `data_dir`."""
    database_statement_seconds: float = Field(default=30.0, ge=1)
    """Longest time one statement may run before PostgreSQL ends it; migrations are exempt."""
    database_lock_seconds: float = Field(default=10.0, ge=0.1)
    """Longest time a statement waits for a row that another transaction holds."""
    database_idle_seconds: float = Field(default=60.0, ge=1)
    """Longest time a transaction of ours may do nothing before PostgreSQL ends it: its process was stopped."""
    redis_url: SecretStr | None = None
    """Redis for nudges between processes, `redis://host:6379/0`. Unset: the laptop mode's in-process queue."""
    data_dir: Path = Path("var")
    """Directory for dataset bytes, the embedded database and the laptop mode's files. Shared by API and workers."""
    secret_keys: SecretStr | None = None
    """Keys for stored credentials: base64 of 32 random bytes each, comma-separated, newest first."""
    environment: str = Field(default="local", pattern=r"^[a-z0-9-]{1,24}$")
    """Name of this installation; tags everything made at Azure, so that two on one resource stay apart."""

    halted: bool = False
    """The kill switch as a setting: this process begins nothing that costs money. `kitae halt` stops every one."""

    # the HTTP door
    host: str = "127.0.0.1"
    """Address the API listens on."""
    port: int = Field(default=8000, ge=0, le=65535)
    """Port the API listens on; 0 picks a free one."""
    public_url: str | None = None
    """URL under which callers reach the API, for links; unset: the request's own."""
    admin_key: SecretStr | None = None
    """A bootstrap key (`ftk_live_…`) that may create projects. `kitae migrate` stores its hash."""
    body_max_bytes: int = Field(default=2_000_000, ge=10_000)
    """Largest body of an ordinary request, in bytes; uploads have their own limit."""
    upload_max_bytes: int = Field(default=512 * 1024 * 1024, ge=1_000)
    """Largest dataset file, in bytes. Azure takes 512 MB per file (quotas page, 2026-02-17)."""
    unpacked_max_bytes: int = Field(default=1024 * 1024 * 1024, ge=1_000)
    """What a packed dataset file (gzip, zstd, ZIP) may hold, in bytes."""
    unpack_ratio_max: int = Field(default=200, ge=2)
    """How many times its size a packed dataset file may hold, once that is more than 64 MiB."""
    key_cache_seconds: float = Field(default=5.0, ge=0, le=60)
    """How long a checked API key is believed without asking the database; a revoked key lives at most so long."""
    api_threads: int = Field(default=40, ge=2, le=500)
    """Threads that answer requests in one API process; the connection pool is half as large."""
    key_requests_per_second: float = Field(default=500.0, gt=0, le=100_000)
    """Requests a second one API key may send to one API process; after silence two seconds' worth at once."""
    wrong_keys_per_minute: float = Field(default=30.0, gt=0, le=1_000_000)
    """Requests with a wrong key one address may send a minute, in one API process, before it must wait."""
    streams_per_key_max: int = Field(default=50, ge=1)
    """Event streams one API key may have open at one API process."""
    costly_requests_per_project_max: int = Field(default=16, ge=1)
    """Uploads, transforms, estimates, comparisons of datasets, exports and chats of a project under way at once, in
    one API process; fewer than `api_threads`, so that one project never takes them all."""
    uploads_per_project_max: int = Field(default=100, ge=1)
    """Resumable uploads a project may have open."""
    fetch_seconds: float = Field(default=7200.0, ge=1, le=86_400)
    """How long the fetch of a dataset from a source may take in all, its retries included."""
    fetches_per_project_max: int = Field(default=5, ge=1)
    """Fetches from sources a project may have under way."""
    transforms_per_project_max: int = Field(default=20, ge=1)
    """Changes of versions a project may have under way; each takes a worker's thread and disk for its rows."""
    hub_url: str = "https://huggingface.co"
    """The Hugging Face Hub, or a mirror of it."""
    blob_url: str = "https://{account}.blob.core.windows.net"
    """Where the blobs of a storage account are; other clouds of Azure have other hosts."""
    blob_accounts: Annotated[frozenset[str], NoDecode] = frozenset()
    """What of Azure's storage may be read with this service's own Entra identity, `account` or `account/container`,
    comma-separated. Whatever stands here can be read by every project that has a connection with `entra`; nothing
    does unless an operator says so."""
    proxy_hops: int = Field(default=0, ge=0, le=10)
    """Proxies in front of the API that append to X-Forwarded-For and can be believed; 0: the connection's other end
    is the caller."""

    # outgoing calls
    allowed_origins: Annotated[frozenset[str], NoDecode] = frozenset()
    """Origins (`http://127.0.0.1:8111`) that may be plain HTTP or private, comma-separated: emulators, proxies."""
    source_origins: Annotated[frozenset[str], NoDecode] = frozenset()
    """Origins from which datasets may be fetched although they are plain HTTP, private or on another port,
    comma-separated: a file server in the house, a mirror of the Hub. Every project can read whatever they offer."""
    request_timeout_seconds: float = Field(default=60.0, ge=1, le=600)
    """Ceiling for one call to Azure, in seconds."""

    azure_parts_from_bytes: int = Field(default=100_000_000, ge=1)
    """Files from this size on go to Azure in parts, so that an interrupted upload goes on where it was. Source:
    Microsoft's azure-skills, large file uploads, 2026-08: a plain upload above 150 MB fails later, in the job."""
    azure_part_bytes: int = Field(default=64 * 1024 * 1024, ge=1, le=64 * 1024 * 1024)
    """Size of these parts. Source: authoring spec 2024-10-21, `POST /uploads/{id}/parts`: at most 64 MB each."""

    retry_after_max_seconds: float = Field(default=172_800.0, ge=3600)
    """Longest wait that Azure's Retry-After is believed: its quotas are by the day, so that more than two days is a
    mistake on the way, and believing it would leave a connection shut with nobody to open it."""

    # care
    lease_seconds: float = Field(default=120.0, ge=1)
    """How long one worker may act on a row before another may take it; longer than a request's ceiling."""
    settle_seconds: float = Field(default=300.0, ge=0)
    """How long a job may take to show in Azure's list before it is believed not to exist."""
    backoff_max_seconds: float = Field(default=300.0, gt=0)
    """Longest pause between two attempts at a step that keeps failing."""
    park_after_failures: int = Field(default=8, ge=1)
    """Failures in a row after which a row waits for a person."""
    park_after_seconds: float = Field(default=3600.0, ge=1)
    """Seconds on the same failing step after which a row waits for a person."""
    circuit_rest_seconds: float = Field(default=30.0, ge=0)
    """How long calls through a connection rest after five in a row, or ten of the last twenty, got no answer."""
    tick_seconds: float = Field(default=1.0, gt=0)
    """How often due rows are sent to the workers."""
    redispatch_seconds: float = Field(default=30.0, gt=0)
    """When a row that was sent is sent again because nobody took it."""
    watch_starting_seconds: float = Field(default=15.0, gt=0)
    """How often Azure is asked while a job is pending, validating or queued."""
    watch_running_seconds: float = Field(default=60.0, gt=0)
    """How often Azure is asked while a job is running."""
    watch_old_seconds: float = Field(default=300.0, gt=0)
    """How often Azure is asked about jobs older than `watch_old_after_seconds`."""
    watch_old_after_seconds: float = Field(default=21_600.0, gt=0)
    """Age at which a job counts as old: 6 hours."""
    watch_details_max: int = Field(default=100, ge=0)
    """Running jobs whose job events are read after one look at a connection's list, the longest unread first; also
    how many jobs that the list did not show are then asked for by id."""
    file_poll_seconds: float = Field(default=3.0, gt=0)
    """How often Azure is asked whether an uploaded file is processed."""
    deployment_poll_seconds: float = Field(default=10.0, gt=0)
    """How often Azure is asked about a deployment that is being made, warmed or deleted."""
    warm_up_limit_seconds: float = Field(default=900.0, gt=0)
    """How long a deployment may be made but not answer before it is deleted and made once more."""
    deployment_ttl_seconds: float = Field(default=86_400.0, gt=0)
    """Life of a deployment whose creator names no expiry: a day, so that nobody pays for a forgotten one."""
    quota_release_seconds: float = Field(default=20.0, ge=0)
    """Pause between the deletion of a deployment and its re-creation, for Azure to release the quota."""
    sweep_seconds: float = Field(default=600.0, gt=0)
    """How often everything at a resource that carries our mark is compared with our rows."""
    catalogue_seconds: float = Field(default=21_600.0, ge=60)
    """How often Azure Resource Manager is asked, along with a sweep, which models a resource offers, and when they
    end."""
    recreate_max: int = Field(default=3, ge=0, le=100)
    """How often one deployment is made again after Azure, or somebody there, removed it; see `on_removal`."""
    janitor_seconds: float = Field(default=3600.0, gt=0)
    """How often our own storage is looked through for leftovers."""
    leftover_seconds: float = Field(default=604_800.0, ge=60)
    """Age at which an object in storage that no row names is deleted. A week, so that after the restore of an older
    database nothing is lost before somebody has looked."""
    keep_files: bool = False
    """Keep training files at Azure after their job has ended; a resource holds 100."""
    jobs_per_project_max: int = Field(default=50, ge=1)
    """Unfinished jobs a project may have."""
    worker_threads: int = Field(default=8, ge=1, le=64)
    """Steps one worker process takes at the same time."""

    # data that may be corrected
    catalogue_file: Path | None = None
    """JSON laid over the shipped catalogue of models, limits and prices."""

    # logs
    log_level: str = Field(default="INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$")
    """DEBUG, INFO, WARNING or ERROR."""
    log_json: bool = True
    """One JSON object a line; off for reading in a terminal."""

    @model_validator(mode="after")
    def _agree(self) -> "Settings":
        wrong = contradictions(self)
        if wrong and self.environment != TEST_ENVIRONMENT:
            raise ValueError(" ".join(wrong))
        return self

    @field_validator("allowed_origins", "source_origins", "blob_accounts", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return frozenset(part.strip().rstrip("/") for part in value.split(",") if part.strip())
        return value

    def secrets(self) -> list[str]:
        """Every secret among the settings, as it might be echoed: keys one by one, passwords without their URL."""
        found = [self.admin_key.get_secret_value()] if self.admin_key else []
        found += self.secret_keys.get_secret_value().split(",") if self.secret_keys else []
        urls = [url.get_secret_value() for url in (self.database_url, self.redis_url) if url is not None]
        passwords = [urlsplit(url).password for url in urls]
        return [text for text in (*found, *passwords) if text]

    def policy(self) -> Policy:
        """The part of the settings that services obey."""
        return Policy(
            environment=self.environment,
            halted=self.halted,
            lease_seconds=self.lease_seconds,
            settle_seconds=self.settle_seconds,
            backoff_max_seconds=self.backoff_max_seconds,
            park_after_failures=self.park_after_failures,
            park_after_seconds=self.park_after_seconds,
            circuit_rest_seconds=self.circuit_rest_seconds,
            watch_starting_seconds=self.watch_starting_seconds,
            watch_running_seconds=self.watch_running_seconds,
            watch_old_seconds=self.watch_old_seconds,
            watch_old_after_seconds=self.watch_old_after_seconds,
            watch_details_max=self.watch_details_max,
            retry_after_max_seconds=self.retry_after_max_seconds,
            file_poll_seconds=self.file_poll_seconds,
            deployment_poll_seconds=self.deployment_poll_seconds,
            warm_up_limit_seconds=self.warm_up_limit_seconds,
            deployment_ttl_seconds=self.deployment_ttl_seconds,
            quota_release_seconds=self.quota_release_seconds,
            sweep_seconds=self.sweep_seconds,
            catalogue_seconds=self.catalogue_seconds,
            recreate_max=self.recreate_max,
            janitor_seconds=self.janitor_seconds,
            leftover_seconds=self.leftover_seconds,
            keep_files=self.keep_files,
            jobs_per_project_max=self.jobs_per_project_max,
            upload_bytes_max=self.upload_max_bytes,
            unpacked_bytes_max=self.unpacked_max_bytes,
            unpack_ratio_max=self.unpack_ratio_max,
            uploads_per_project_max=self.uploads_per_project_max,
            fetch_seconds=self.fetch_seconds,
            fetches_per_project_max=self.fetches_per_project_max,
            transforms_per_project_max=self.transforms_per_project_max,
            hub_url=self.hub_url.rstrip("/"),
            blob_url=self.blob_url.rstrip("/"),
            blob_accounts=self.blob_accounts,
            azure_parts_from_bytes=self.azure_parts_from_bytes,
            azure_part_bytes=self.azure_part_bytes,
        )


def contradictions(settings: Settings) -> list[str]:
    """What in these settings cannot be right together, in words; each is a way to pay twice or to do nothing."""
    call, lease, settle = settings.request_timeout_seconds, settings.lease_seconds, settings.settle_seconds
    rules = (
        (
            lease < call + LEASE_MARGIN_SECONDS,
            (
                f"KITAE_LEASE_SECONDS ({lease:g}) must be at least KITAE_REQUEST_TIMEOUT_SECONDS ({call:g}) plus "
                f"{LEASE_MARGIN_SECONDS:g}: else another worker may begin the same call before the first has ended."
            ),
        ),
        (
            settle < call + LIST_LAG_SECONDS,
            (
                f"KITAE_SETTLE_SECONDS ({settle:g}) must be at least KITAE_REQUEST_TIMEOUT_SECONDS "
                f"({call:g}) plus {LIST_LAG_SECONDS:g}: else a job that the list does not show yet is made twice."
            ),
        ),
        (
            settings.tick_seconds > settings.redispatch_seconds,
            (
                f"KITAE_TICK_SECONDS ({settings.tick_seconds:g}) must not be above KITAE_REDISPATCH_SECONDS "
                f"({settings.redispatch_seconds:g}): else every row is sent at every tick, taken or not."
            ),
        ),
        (
            settings.watch_old_seconds < settings.watch_running_seconds,
            (
                f"KITAE_WATCH_OLD_SECONDS ({settings.watch_old_seconds:g}) must not be below "
                f"KITAE_WATCH_RUNNING_SECONDS ({settings.watch_running_seconds:g}): an old job is asked about less."
            ),
        ),
        (
            settings.park_after_seconds < lease,
            (
                f"KITAE_PARK_AFTER_SECONDS ({settings.park_after_seconds:g}) must not be below KITAE_LEASE_SECONDS "
                f"({lease:g}): else a row whose worker died once is parked when its lease has ended."
            ),
        ),
        (
            settings.database_idle_seconds < settings.database_lock_seconds,
            (
                f"KITAE_DATABASE_IDLE_SECONDS ({settings.database_idle_seconds:g}) must not be below "
                f"KITAE_DATABASE_LOCK_SECONDS ({settings.database_lock_seconds:g})."
            ),
        ),
    )
    return [words for is_wrong, words in rules if is_wrong]
