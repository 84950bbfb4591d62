"""Where the command line finds its server: PYTHIA_URL and PYTHIA_API_KEY, then the user's configuration file."""

from __future__ import annotations

import json
import os
import tomllib
from dataclasses import dataclass
from pathlib import Path

from predictor.errors import PythiaError
from scheduler.embedded.keys import write_private

DEFAULT_URL = "http://127.0.0.1:8321"


class InvalidConfig(PythiaError):
    """The user's configuration file cannot be read."""

    code = "invalid_config"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientConfig:
    """The server a command talks to."""

    url: str
    api_key: str | None


def config_path() -> Path:
    """The user's configuration file, whether or not it exists."""
    return Path.home() / ".config" / "pythia" / "config.toml"


def load_config() -> ClientConfig:
    """The environment first, then the file, then the default address without a key."""
    kept = read_config(config_path())
    return ClientConfig(
        url=(os.environ.get("PYTHIA_URL") or kept.get("url") or DEFAULT_URL).rstrip("/"),
        api_key=os.environ.get("PYTHIA_API_KEY") or kept.get("api_key"),
    )


def read_config(path: Path) -> dict[str, str]:
    """The file's `url` and `api_key`, empty if there is no file."""
    try:
        parsed = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InvalidConfig(f"{path} cannot be read ({error}); correct it or delete it") from error
    return {key: value for key in ("url", "api_key") if isinstance(value := parsed.get(key), str)}


def write_config(path: Path, *, url: str, api_key: str) -> None:
    """Replace the file whole, readable by its owner alone."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    # JSON strings are valid TOML basic strings
    write_private(path, f"url = {json.dumps(url)}\napi_key = {json.dumps(api_key)}\n")
