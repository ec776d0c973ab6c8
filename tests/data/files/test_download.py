import hashlib
import os
import socket

import pytest
from file_server import serving

from metriscope.data.files.download import checksum, fetch
from metriscope.errors import InputError

CONTENT = os.urandom(300_000)
MD5 = hashlib.md5(CONTENT).hexdigest()


@pytest.fixture
def server():
    with serving(CONTENT) as server:
        yield server


@pytest.fixture
def target(tmp_path):
    return tmp_path / "file.tgz"


def part(target):
    return target.with_name("file.tgz.part")


def test_fetches_and_checks(server, target):
    fetch(server.url, target, MD5)
    assert target.read_bytes() == CONTENT
    assert checksum(target) == MD5
    assert not part(target).exists()


def test_a_download_that_ends_early_is_one_line_and_goes_on(server, target):
    server.cut_after = 100_000
    for come in (0.1, 0.2):
        with pytest.raises(InputError, match=rf"ended at {come} MB of 0\.3 MB: run the same command again") as error:
            fetch(server.url, target, MD5)
        assert "\n" not in str(error.value)
        assert not target.exists()
    assert part(target).read_bytes() == CONTENT[:200_000]
    fetch(server.url, target, MD5)
    assert target.read_bytes() == CONTENT
    assert server.requests == [None, "bytes=100000-", "bytes=200000-"]


def test_without_a_length_the_checksum_tells(server, target):
    server.says_length = False
    server.cut_after = 100_000
    with pytest.raises(InputError, match=r"is not the published file: its md5 is"):
        fetch(server.url, target, MD5)
    server.cut_after = None
    fetch(server.url, target, MD5)


def test_a_server_that_ignores_ranges_sends_all_again(server, target):
    part(target).write_bytes(CONTENT[:1000])
    server.ranges = False
    fetch(server.url, target, MD5)
    assert target.read_bytes() == CONTENT


def test_a_part_that_is_whole_needs_nothing_more(server, target):
    part(target).write_bytes(CONTENT)
    fetch(server.url, target, MD5)
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize("leftover", [b"x" * 1000, b"x" * 400_000])
def test_a_part_of_another_file_is_noticed_and_replaced(server, target, leftover):
    part(target).write_bytes(leftover)
    with pytest.raises(InputError, match="is not the published file"):
        fetch(server.url, target, MD5)
    assert not part(target).exists()
    fetch(server.url, target, MD5)


def test_a_tampered_file_never_appears(server, target):
    server.content = CONTENT[:-1] + bytes([CONTENT[-1] ^ 1])
    with pytest.raises(InputError, match=rf"its md5 is [0-9a-f]{{32}}, not {MD5}; what came was deleted"):
        fetch(server.url, target, MD5)
    assert not list(target.parent.iterdir())


def test_an_interruption_keeps_what_came(server, target, monkeypatch):
    def interrupted(source, file, *_):
        file.write(source.read(50_000))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("metriscope.data.files.download._copy", interrupted)
        with pytest.raises(KeyboardInterrupt):
            fetch(server.url, target, MD5)
    assert part(target).read_bytes() == CONTENT[:50_000]
    fetch(server.url, target, MD5)
    assert server.requests[-1] == "bytes=50000-"


def test_servers_that_do_not_answer(server, target):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/file"
        with pytest.raises(InputError, match=r"cannot fetch http.*refused; run again, or put file\.tgz into"):
            fetch(url, target, MD5)
    server.content = b""
    part(target).write_bytes(b"")
    with pytest.raises(InputError, match="is not the published file"):
        fetch(server.url, target, MD5)


def test_a_page_that_is_not_there(target):
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
    from threading import Thread

    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:  # knows no GET: 501
        Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(InputError, match=r"cannot fetch .*: HTTP Error 501"):
            fetch(f"http://127.0.0.1:{server.server_port}/", target, MD5)
        server.shutdown()
