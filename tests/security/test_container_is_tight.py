"""The image and the compose file give a process that was taken over as little as possible."""

import re
from typing import Any, Final

import pytest
import yaml
from servers import ROOT

DOCKERFILE: Final = (ROOT / "Dockerfile").read_text()
COMPOSE: Final[dict[str, Any]] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: Final[dict[str, dict[str, Any]]] = COMPOSE["services"]
ROOT_NAMES: Final = {None, "root", "0", "0:0", 0}


def instructions(name: str) -> list[str]:
    joined = DOCKERFILE.replace("\\\n", " ")
    return [line.partition(" ")[2].strip() for line in joined.splitlines() if line.startswith(f"{name} ")]


# ── the image ───────────────────────────────────────────────────────────────


def test_the_image_runs_as_a_number_that_is_nobody_on_the_host() -> None:
    *_, user = instructions("USER")
    uid, _, gid = user.partition(":")
    assert int(uid) >= 10_000
    assert int(gid) >= 10_000
    after = DOCKERFILE[DOCKERFILE.rindex("\nUSER ") :]
    assert not re.search(r"^(RUN|COPY|ADD) ", after, re.MULTILINE), "nothing is written after the user was set"


def test_what_is_installed_was_checked_against_its_hash() -> None:
    installs = [line for line in instructions("RUN") if "pip install" in line]
    assert installs
    for line in installs:
        for command in re.split(r"&&|;", line):
            if "pip install" in command:
                assert "--require-hashes" in command or "--no-index" in command, command


def test_no_secret_and_no_checkout_gets_into_a_layer() -> None:
    for name in ("ENV", "ARG"):
        for line in instructions(name):
            assert not re.search(r"(?i)(secret|password|token|_key)\s*=", line), line
    copied = " ".join(instructions("COPY"))
    assert not re.search(r"(?:^|\s)\.(?:\s|$)", copied), "COPY . would take .git and .env along"
    assert "ADD " not in DOCKERFILE
    ignored = (ROOT / ".dockerignore").read_text()
    for name in (".git", ".env", ".venv", "var"):
        assert re.search(rf"^/?\*?\*?/?{re.escape(name)}/?\*?$|^\*$", ignored, re.MULTILINE), name


def test_only_the_result_of_the_build_is_kept() -> None:
    assert len(instructions("FROM")) == 2
    last = DOCKERFILE[DOCKERFILE.rindex("\nFROM ") :]
    assert "pip install" not in last
    assert all("--from=" in line for line in re.findall(r"^COPY (.*)$", last, re.MULTILINE))


# ── the compose file ────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_can_do_little(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert "no-new-privileges:true" in service["security_opt"]
    assert not any("unconfined" in option for option in service["security_opt"]), "seccomp and AppArmor stay on"
    assert service["pids_limit"] <= 1024
    assert not service.get("privileged")
    for shared in ("network_mode", "pid", "ipc", "userns_mode", "devices"):
        assert shared not in service, shared
    assert service.get("tmpfs"), "a read-only root needs a place for what is temporary"
    built = "build" in service
    assert built or service.get("user") not in ROOT_NAMES, "an image of others' starts as root"


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_sees_nothing_of_the_host_and_listens_to_this_machine_only(name: str) -> None:
    service = SERVICES[name]
    for volume in service.get("volumes", ()):
        source = volume.partition(":")[0]
        assert source in COMPOSE["volumes"], f"{source} is a directory of the host"
    for port in service.get("ports", ()):
        assert str(port).startswith("127.0.0.1:"), port
    assert name not in {"postgres", "redis", "worker", "beat"} or not service.get("ports")


def test_no_secret_stands_in_the_compose_file() -> None:
    for name, service in SERVICES.items():
        for variable, value in service.get("environment", {}).items():
            secret = re.search(r"PASSWORD|SECRET|_KEY|TOKEN", variable)
            assert not secret or str(value).startswith("${"), (name, variable)
            in_url = re.search(r"://[^/@:]*:([^@]*)@", str(value))
            assert in_url is None or in_url[1].startswith("${"), (name, variable)
    example = (ROOT / ".env.example").read_text()
    for name in ("POSTGRES_PASSWORD", "KITAE_SECRET_KEYS", "KITAE_ADMIN_KEY"):
        line = re.search(rf"^#?\s*{name}=(.*)$", example, re.MULTILINE)
        assert line is not None, name
        assert line[1].strip() == "", f"{name} must be made, not copied"
