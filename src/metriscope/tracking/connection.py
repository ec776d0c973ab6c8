"""Connection to W&B: mode, API key, reachability, and the start of a run, without a prompt. Imports no torch."""

import netrc
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from metriscope.errors import InputError
from metriscope.tracking.guard import first_line

MODES = ("auto", "online", "offline", "disabled")
Mode = Literal["online", "offline"]
OLD_MODES = {"run": "online", "shared": "online", "dryrun": "offline"}
PROBE_SECONDS = 3.0
FINISH_SECONDS = 120
UPLOAD_SECONDS = 900
"""The same where checkpoints are sent."""


class Started(NamedTuple):
    """A W&B run.

    Attributes:
        run: what ``wandb.init`` returned.
        mode: in which it was started.
        reason: why it is not online, where that was asked for or possible.
    """

    run: Any
    mode: Mode
    reason: str

    def __str__(self) -> str:
        """Where the run is, or how to send it there."""
        if self.mode == "online":
            return f"W&B: {self.run.url}"
        return f"W&B is offline{self.reason and f' ({self.reason})'}: {self.sync}"

    @property
    def sync(self) -> str:
        """The command that sends its files."""
        files = Path(self.run.dir).parent
        here = files.relative_to(Path.cwd()) if files.is_relative_to(Path.cwd()) else files
        return f"wandb sync {here}"


def start(
    asked: str, folder: Path, *, init_timeout: float, finish_timeout: float = FINISH_SECONDS, **options: Any
) -> Started:
    """Start a W&B run, online where that is asked for and possible, else offline; never prompts.

    Args:
        asked: ``auto``, ``online`` or ``offline``, as :func:`asked_mode` returns it.
        folder: W&B's files go to ``wandb/`` in it.
        init_timeout: seconds to wait for W&B.
        finish_timeout: the same at the end of the run.
        options: of ``wandb.init``: id, project, entity, group, job_type, tags, name, config.

    Raises:
        Exception: whatever W&B raises when it cannot be used at all.
    """
    wandb, known = _wandb()
    mode, reason = choose_mode(asked, known.base_url, known.api_key)
    try:
        return Started(_init(mode, folder, (init_timeout, finish_timeout), options), mode, reason)
    except Exception as error:
        if mode == "offline":
            raise
        wandb.teardown()  # W&B keeps the id of a run that failed to start
        return Started(_init("offline", folder, (init_timeout, finish_timeout), options), "offline", first_line(error))


def connect() -> Any:
    """W&B's public API, without a prompt for a key.

    Raises:
        InputError: the package or a key is missing.
    """
    try:
        wandb, known = _wandb()
    except ImportError as error:
        raise InputError("reading a W&B project needs the package: pip install wandb") from error
    if not has_key(known.base_url, known.api_key):
        raise InputError("no API key for W&B: run `wandb login`, or set WANDB_API_KEY")
    return wandb.Api(timeout=30)


def _wandb() -> tuple[Any, Any]:
    """The package, and the settings that it finds by itself."""
    import wandb

    if not hasattr(wandb, "init"):
        raise ImportError("the package is not installed; the folder wandb/ found here is not it")
    return wandb, wandb.setup(wandb.Settings(silent=True, quiet=True)).settings


def _init(mode: Mode, folder: Path, timeouts: tuple[float, float], options: Mapping[str, Any]) -> Any:
    import wandb

    settings: dict[str, Any] = {
        "silent": True,
        "quiet": True,
        "console": "off",
        "disable_code": True,
        "init_timeout": timeouts[0],
        "finish_timeout": timeouts[1],
        "finish_timeout_raises": True,
        "reinit": "finish_previous",
    }
    known = set(getattr(wandb.Settings, "model_fields", settings))
    given = wandb.Settings(**{key: value for key, value in settings.items() if key in known})
    return wandb.init(mode=mode, dir=str(folder), resume="allow", settings=given, **options)


def asked_mode(mode: str) -> str:
    """``mode``, or the value of ``WANDB_MODE`` if ``mode`` is ``auto``; old values are translated.

    Raises:
        InputError: the mode, or ``WANDB_MODE``, does not exist.
    """
    source = "logger.wandb.mode"
    if mode == "auto" and os.environ.get("WANDB_MODE"):
        source, mode = "WANDB_MODE", os.environ["WANDB_MODE"]
    mode = OLD_MODES.get(mode, mode)
    if mode not in MODES:
        raise InputError(f"{source}={mode}: choose one of {', '.join(MODES)}")
    return mode


def choose_mode(mode: str, base_url: str, api_key: str | None) -> tuple[Mode, str]:
    """``online`` or ``offline``, and the reason if an online mode falls back to offline."""
    if mode == "offline":
        return "offline", ""
    if not has_key(base_url, api_key):
        # Without a key W&B would prompt for one and wait.
        return "offline", "no API key"
    if mode == "auto" and not answers(base_url):
        return "offline", f"{urlsplit(base_url).hostname} does not answer"
    return "online", ""


def has_key(base_url: str, api_key: str | None) -> bool:
    """Whether W&B would find a key without a prompt."""
    if api_key or os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    for path in [os.environ.get("NETRC"), "~/.netrc", "~/_netrc"]:
        try:
            if path and netrc.netrc(Path(path).expanduser()).authenticators(urlsplit(base_url).netloc):
                return True
        except (OSError, netrc.NetrcParseError):
            continue
    return False


def answers(base_url: str) -> bool:
    """Whether the host, or the proxy in front of it, accepts a connection within :data:`PROBE_SECONDS`."""
    target = urlsplit(base_url)
    proxy = getproxies().get(target.scheme)
    if proxy and not proxy_bypass(target.hostname or ""):
        target = urlsplit(proxy if "//" in proxy else f"//{proxy}")
    port = target.port or (80 if target.scheme == "http" else 443)
    try:
        socket.create_connection((target.hostname or "", port), timeout=PROBE_SECONDS).close()
    except OSError:
        return False
    return True
