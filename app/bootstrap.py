"""The one place where things are wired: settings in, a workbench out."""

import contextlib
import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import structlog
from sqlalchemy.engine import Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from app.audit.log import record
from app.azure.adapter import AzureClients, azure_guard
from app.azure.catalogue.catalogue import Catalogue
from app.azure.port import Azure
from app.events.log import append
from app.kit.db import Patience, make_engine
from app.kit.guarded_web import GuardedWeb
from app.kit.safe_http import Guard, check_url
from app.kit.sealed import keys_in_use
from app.kit.secrets import Vault
from app.settings import Settings
from app.storage.local import LocalStorage
from app.workbench import CheckUrl, SendNudge, Workbench

log = structlog.get_logger("kitae.bootstrap")


class SettingMissing(Exception):
    """The service cannot start like this; the message names the setting."""


def no_nudge(_task: str, _row_id: str) -> None:
    """For processes that have no queue: the next tick does the work."""


def open_vault(settings: Settings) -> Vault:
    """The vault of `KITAE_SECRET_KEYS`, or of a key kept in the data directory where no setting names one."""
    if settings.secret_keys is not None:
        return Vault([key for key in settings.secret_keys.get_secret_value().split(",") if key])
    path = settings.data_dir / "secret.key"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, written = tempfile.mkstemp(dir=path.parent, prefix=".secret-")
        with os.fdopen(handle, "w") as file:
            file.write(Vault.new_key())
        with contextlib.suppress(FileExistsError):
            os.link(written, path)  # appears whole, and only if no other process was first
        Path(written).unlink()
    return Vault([path.read_text().strip()])


def open_engine(settings: Settings, *, pool_size: int = 10) -> Engine:
    """Raises `SettingMissing` when no database is named; `kitae up` names its own."""
    if settings.database_url is None:
        raise SettingMissing(
            "KITAE_DATABASE_URL is not set. Name a PostgreSQL server, or use `kitae up`, which brings its own."
        )
    patience = Patience(
        statement_seconds=settings.database_statement_seconds,
        lock_seconds=settings.database_lock_seconds,
        idle_seconds=settings.database_idle_seconds,
    )
    return make_engine(settings.database_url.get_secret_value(), pool_size=pool_size, patience=patience)


def missing_keys(bench: Workbench) -> str | None:
    """What is wrong, in words, when stored secrets need keys that the settings do not hold; else None."""
    with bench.read() as session:
        used = keys_in_use(session)
    lacking = {key: number for key, number in used.items() if not bench.vault.has(key)}
    if not lacking:
        return None
    keys = ", ".join(sorted(key.hex() for key in lacking))
    return (
        f"{sum(lacking.values())} stored secrets are sealed with a key that is not in KITAE_SECRET_KEYS (key id "
        f"{keys}). Put it back, behind the newest; `kitae secrets rotate` then seals them with the newest one."
    )


def refuse_missing_keys(bench: Workbench) -> None:
    """For processes that will need the stored secrets, before they take any work.

    Raises:
        SettingMissing: a key is not there. A database that does not answer, or has no tables yet, is waited for by
            whoever needs it.
    """
    try:
        wrong = missing_keys(bench)
    except SQLAlchemyError as error:
        log.warning("secrets.not_checked", error=str(error)[:300])
        return
    if wrong is not None:
        raise SettingMissing(wrong)


def _url_checker(guard: Guard) -> CheckUrl:
    def checked(url: str) -> str:
        check_url(url, guard)
        return url.rstrip("/")

    return checked


@contextmanager
def open_workbench(
    settings: Settings,
    *,
    send_nudge: SendNudge = no_nudge,
    pool_size: int = 10,
    azure: Azure | None = None,
    data_dir: Path | None = None,
) -> Iterator[Workbench]:
    """A workbench for the life of one process; closes its connections at the end."""
    engine = open_engine(settings, pool_size=pool_size)
    own_host = urlsplit(settings.public_url or "").hostname
    own_hosts = [own_host] if own_host else []
    guard = azure_guard(settings.allowed_origins, own_hosts=own_hosts)
    clients = azure or AzureClients(
        guard,
        timeout_seconds=settings.request_timeout_seconds,
        part_bytes=settings.azure_part_bytes,
        parts_from_bytes=settings.azure_parts_from_bytes,
    )
    web = GuardedWeb(
        Guard(allowed_origins=settings.source_origins, own_hosts=frozenset(own_hosts)),
        timeout_seconds=settings.request_timeout_seconds,
    )
    try:
        yield Workbench(
            sessions=sessionmaker(engine, class_=Session, expire_on_commit=False),
            azure=clients,
            web=web,
            storage=LocalStorage((data_dir or settings.data_dir) / "objects"),
            vault=open_vault(settings),
            catalogue=Catalogue.load(settings.catalogue_file),
            policy=settings.policy(),
            check_url=_url_checker(guard),
            record_events=append,
            record_deed=record,
            send_nudge=send_nudge,
            owner=f"{socket.gethostname()}:{os.getpid()}",
        )
    finally:
        clients.close()
        web.close()
        engine.dispose()
