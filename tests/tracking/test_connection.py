import socket
from pathlib import Path

import pytest

from metriscope.tracking.connection import choose_mode

pytestmark = pytest.mark.usefixtures("no_account")


def test_online_only_with_a_key_and_an_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        url = f"http://127.0.0.1:{port}"
        assert choose_mode("auto", url, None) == ("offline", "no API key")
        assert choose_mode("online", url, None) == ("offline", "no API key")
        assert choose_mode("auto", url, "key") == ("online", "")
        (tmp_path / "netrc").write_text(f"machine 127.0.0.1:{port} login user password secret\n")
        assert choose_mode("auto", url, None) == ("online", "")
        monkeypatch.setenv("http_proxy", url)
        assert choose_mode("auto", "http://wandb.invalid", "key") == ("online", "")
    assert choose_mode("auto", url, "key") == ("offline", "127.0.0.1 does not answer")
