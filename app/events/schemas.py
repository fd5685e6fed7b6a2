"""What crosses the wire about events."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class EventRead(BaseModel):
    """One fact of the log."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "object": "event",
                    "id": "evt_01kz8q7m2ceap9j4f0x6t3r8wd",
                    "type": "job.succeeded",
                    "subject_id": "job_01kz8q2v9re4n9t6e2x5cbd3ya",
                    "data": {"from": "running"},
                    "created_at": "2026-11-20T10:12:33.123456Z",
                }
            ]
        }
    )

    object: Literal["event"] = "event"
    id: str = Field(description="Send it as Last-Event-ID, or `after`, to go on behind this event.")
    type: str = Field(description="`noun.what_happened`.")
    subject_id: str = Field(description="Id of the thing it happened to.")
    data: dict[str, Any] = Field(description="More about it; members depend on the type.")
    created_at: datetime
