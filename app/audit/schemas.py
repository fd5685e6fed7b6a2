"""What crosses the wire about the record of deeds."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class AuditEventRead(BaseModel):
    """One deed."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "object": "audit_event",
                    "id": "aud_01kz8q7m2ceap9j4f0x6t3r8wd",
                    "chain": "prj_01kz8q0p3xe1f8y6m2v4t9s7ab",
                    "number": 42,
                    "at": "2026-11-20T10:12:33.123456Z",
                    "actor_kind": "key",
                    "actor_id": "key_01kz8q1c5ye0rtdm6q4nb8w2hj",
                    "operation": "updateConnection",
                    "change": "connection.changed",
                    "subject_id": "con_01kz8q2v9re4n9t6e2x5cbd3ya",
                    "outcome": "done",
                    "request_id": "req_01kz8q3d0qf5ga8aj7k1r6m2wt",
                    "address": "203.0.113.7",
                    "agent": "python-httpx2/2.12",
                    "detail": {"fields": ["api_key"]},
                    "hash": "5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef",
                }
            ]
        }
    )

    object: Literal["audit_event"] = "audit_event"
    id: str
    chain: str = Field(description="The project's id, or `installation`.")
    number: int = Field(description="1, 2, 3, … in its chain, without a gap.")
    at: datetime = Field(description="The database's clock.")
    actor_kind: Literal["key", "operator", "cli", "worker"]
    actor_id: str = Field(description="Id of the key, name of the account on the machine, or name of the process.")
    operation: str = Field(description="The call's operation id, or the command; empty for a worker.")
    change: str | None = Field(description="What became different, `noun.what_happened`; null when nothing did.")
    subject_id: str | None = Field(description="Id of the thing, or what the caller named.")
    outcome: Literal["done", "unchanged", "refused", "failed"]
    request_id: str | None
    address: str | None = Field(description="The caller's address as the service saw it.")
    agent: str | None = Field(description="The caller's User-Agent, at most 200 characters.")
    detail: dict[str, Any] = Field(description="A few short facts; never a secret and never the text of a row.")
    hash: str = Field(description="SHA-256 of the hash before it and this record, in hexadecimal.")
