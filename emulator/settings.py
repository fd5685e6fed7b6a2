"""Every environment variable of the emulator, with unit and default; it must not know who reads them."""

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from emulator.outgoing import Reach

ClockMode = Literal["instant", "real", "manual"]


class Settings(BaseSettings):
    """What a person may choose when the emulator starts."""

    model_config = SettingsConfigDict(env_prefix="EMULATOR_", extra="ignore", frozen=True)

    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8111, ge=0, le=65535, description="port to listen on; 0 takes a free one")
    state: Path | None = Field(None, description="directory that survives restarts; unset: forgotten at exit")
    workers: int = Field(1, ge=1, le=16, description="training processes")
    cache: Path = Field(
        Path("~/.cache/emulator"), description="directory where the learner keeps its frozen base model"
    )
    clock: ClockMode = Field("real", description="instant, real or manual")
    speed: float = Field(60.0, gt=0, le=1e6, description="virtual seconds per real second of the real clock")
    pace: dict[str, float] = Field(
        {}, description='seconds of single stages as JSON, e.g. {"queue": 5}; the rest as in schedule.Pace'
    )
    timestamps: Literal["wall", "virtual"] = Field(
        "wall", description="which clock the unix times in answers follow"
    )
    key: str | None = Field(None, description="the only accepted api-key; unset: any non-empty one")
    bearer: str | None = Field(None, description="the only accepted bearer token; unset: any non-empty one")
    accounts: str = Field(
        "",
        description="comma-separated accounts that are resources of their own, reached under /{account}/openai/…;"
        " every other account name means the one default resource",
    )
    location: str = Field("swedencentral", description="region of every account")
    file_limit_bytes: int = Field(512 * 1024 * 1024, ge=1, description="largest plain upload")
    plain_upload_bytes: int = Field(
        150 * 1024 * 1024,
        ge=1,
        description="a training file above this that did not come through uploads fails its job",
    )
    reach: Reach = Field("loopback", description="whom the emulator itself may call: loopback, or any host")
    webhooks: str = Field(
        "", description="comma-separated URLs told of the end of every job, each as URL#whsec_secret"
    )
    learner_wait_seconds: float = Field(
        300.0, ge=0, description="how long one advance of the manual clock may wait for the learner"
    )
    log_requests: int = Field(1000, ge=0, description="how many requests /_emulator/requests remembers")
