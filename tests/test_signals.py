"""Signals by themselves; tests/test_interruption.py has them in runs, scripts/signal_test.py at any moment."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress

import pytest

from metriscope.errors import Interrupted
from metriscope.signals import Stop, answered_by, exit_on_requests, raise_interrupt, requests

WORKER = """
import signal
from metriscope.signals import spare_worker
spare_worker(0)
print("ready", flush=True)
input()
print("still there", flush=True)
signal.sigwait({signal.SIGINT})  # for ever: nobody sends it
"""


def test_a_worker_obeys_its_run_alone():
    # Not a fork of this process, in which other tests have left threads that no signal mask reaches.
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", WORKER], **pipes) as worker:
        assert worker.stdout.readline() == "ready\n"
        for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2):
            subprocess.run(["kill", f"-{number.value}", str(worker.pid)], check=True)
        worker.stdin.write("\n")
        worker.stdin.flush()
        assert worker.stdout.readline() == "still there\n"
        worker.terminate()
        assert worker.wait(60) == 0


@pytest.fixture
def kept():
    """The handlers of this process, put back after the test."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
    before = {number: signal.getsignal(number) for number in numbers}
    yield before
    for number, handler in before.items():
        signal.signal(number, handler)


def send(number):
    os.kill(os.getpid(), number)


def test_hanging_up_asks_to_stop_unless_nohup_ignores_it(kept):
    assert requests() == (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    assert requests() == (signal.SIGINT, signal.SIGTERM)
    with answered_by(raise_interrupt), Stop().listening():
        send(signal.SIGHUP)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_outside_of_runs_a_signal_ends_the_process_with_one_line(kept, number, monkeypatch, capfd):
    codes, at_exit = [], []
    monkeypatch.setattr("os._exit", codes.append)
    monkeypatch.setattr("atexit.register", at_exit.append)
    exit_on_requests()
    send(number)
    assert codes == [130]
    assert capfd.readouterr().err == f"metriscope: stopped by {number.name}\n"
    (ignore,) = at_exit
    ignore()
    send(number)
    assert codes == [130], "nothing disturbs an interpreter that is closing down"


def test_handlers_are_put_back(kept):
    with suppress(ZeroDivisionError), Stop().listening():
        assert signal.getsignal(signal.SIGTERM) != kept[signal.SIGTERM]
        raise ZeroDivisionError
    assert {number: signal.getsignal(number) for number in kept} == kept


def test_a_signal_stops_at_once_where_nothing_waits():
    stop = Stop()
    with stop.listening():
        with pytest.raises(KeyboardInterrupt, match="stopped by SIGTERM"):
            send(signal.SIGTERM)
        send(signal.SIGINT)  # the same request, of the terminal
        with pytest.raises(KeyboardInterrupt):
            send(signal.SIGTERM)
    assert stop.received == signal.SIGTERM


@pytest.mark.processes
def test_a_signal_in_a_finalizer_stops_after_it(capsys):
    class Dies:
        def __del__(self):
            send(signal.SIGTERM)

    def finalize():
        Dies()
        time.sleep(10)

    with Stop().listening(), pytest.raises(KeyboardInterrupt, match="stopped by SIGTERM"):
        finalize()
    assert capsys.readouterr().err == ""


def test_a_signal_waits_for_what_has_to_be_whole():
    stop = Stop()
    with stop.listening():
        stop.hold()
        send(signal.SIGINT)
        send(signal.SIGINT)
        with pytest.raises(Interrupted, match="SIGINT"):
            stop.release()
    with stop.listening(), pytest.raises(Interrupted, match="SIGINT"), stop.waiting():
        pass


def test_the_terminal_may_be_gone(kept, monkeypatch):
    def gone(*args):
        raise OSError

    codes = []
    monkeypatch.setattr("os._exit", codes.append)
    monkeypatch.setattr("os.write", gone)
    monkeypatch.setattr("atexit.register", lambda function: None)
    exit_on_requests()
    send(signal.SIGHUP)
    assert codes == [130]
