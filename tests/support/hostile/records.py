"""Damaged ``run.json`` files."""

import json

from hostile.kinds import CONTROL, MARKUP, Kind, absent, changed, of_every_sort, text

FILE = "run.json"
_WIDE = json.dumps({"status": "finished", "git": {str(i): i for i in range(10**5 + 1)}})

_NEW_YEAR = "01-01T00:00:00+00:00"

KINDS = {
    "no run.json": Kind(absent(FILE), trains=True),
    **of_every_sort(FILE, broken=True),
    "run.json is empty": Kind(text(FILE, ""), broken=True),
    "run.json is cut off": Kind(text(FILE, '{"status": "finished", "seco'), broken=True),
    "run.json is a list": Kind(text(FILE, "[]"), broken=True),
    "run.json of 200,000 brackets": Kind(text(FILE, "[" * 200_000), broken=True),
    "run.json of 500 levels": Kind(text(FILE, '{"git": ' + '{"a":' * 500 + "1" + "}" * 501), broken=True),
    "run.json of 100,000 values": Kind(text(FILE, _WIDE), broken=True),
    "run.json in 16 bits": Kind(text(FILE, '{"status": "finished"'.encode("utf-16")), broken=True),
    "a record without status": Kind(text(FILE, "{}"), broken=True),
    "a record with an odd status": Kind(changed(FILE, status="<b>done</b>"), broken=True),
    "a record with a list as status": Kind(changed(FILE, status=["finished"]), broken=True),
    "a record of a later format": Kind(changed(FILE, format=10**6), broken=True),
    "a record of the format ESC": Kind(changed(FILE, format=CONTROL), broken=True),
    "seconds are text": Kind(changed(FILE, seconds="abc"), broken=True),
    "seconds of 400 digits": Kind(changed(FILE, seconds=10**400), broken=True),
    "seconds are infinite": Kind(changed(FILE, seconds=float("inf")), broken=True),
    "seconds as large as they come": Kind(changed(FILE, seconds=1.7e308), broken=True),
    "epochs below 0": Kind(changed(FILE, epochs=-1), broken=True),
    "a time that is none": Kind(changed(FILE, started="yesterday\x1b[2J"), broken=True),
    "metrics that are no metrics": Kind(changed(FILE, metrics={"a": 1}), broken=True),
    "versions that are a list": Kind(changed(FILE, versions=[MARKUP]), broken=True),
    "a host of markup": Kind(changed(FILE, host=MARKUP + CONTROL, command=[CONTROL]), compared=True),
    "own metrics of markup": Kind(
        changed(FILE, metrics={MARKUP: [CONTROL, "max"], CONTROL: [None, "sideways"]}), compared=True
    ),
    "versions of markup": Kind(changed(FILE, versions={CONTROL: MARKUP, "torch": CONTROL}), compared=True),
    "a commit of markup": Kind(changed(FILE, git={"commit": {"a": [CONTROL]}, "dirty": "no"}), compared=True),
    "data that are no fingerprint": Kind(changed(FILE, data={"content": [], "times": {}}), compared=True),
    "half of a character": Kind(changed(FILE, host="\ud800"), compared=True),
    "failed for markup": Kind(changed(FILE, status="failed", reason=(MARKUP + CONTROL) * 10**3), trains=True),
    "running since ever": Kind(changed(FILE, status="running", running_since=f"0001-{_NEW_YEAR}"), trains=True),
}
