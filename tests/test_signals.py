import signal
import subprocess
import sys

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
