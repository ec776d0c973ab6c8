import os
import sys

from metriscope.terminal import outliving_its_reader


def test_a_reader_that_has_gone_stops_nothing(monkeypatch):
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        with outliving_its_reader():
            for _ in range(3):
                print("a line", flush=True)
            print("one that is flushed in the end")
        assert sys.stdout is stream
