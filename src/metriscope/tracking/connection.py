"""Connection to W&B: mode, API key and reachability, without a prompt. Imports neither torch nor wandb."""

import netrc
import os
import socket
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from metriscope.errors import InputError

MODES = ("auto", "online", "offline", "disabled")
Mode = Literal["online", "offline"]
OLD_MODES = {"run": "online", "shared": "online", "dryrun": "offline"}
PROBE_SECONDS = 3.0


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
