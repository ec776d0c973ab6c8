"""Where the report of a study goes."""

from pathlib import Path

from metriscope.files import folder_in
from metriscope.run.study import REPORT


def report_folder(study: Path, given: Path | None) -> Path:
    """The given folder, else ``report`` in that of the study; made where it is missing.

    Raises:
        OSError: it cannot be made, or ``report`` of a study is a link, which may come from somebody else.
    """
    if given is None:
        study.mkdir(parents=True, exist_ok=True)
        return folder_in(study, REPORT)
    given.mkdir(parents=True, exist_ok=True)
    return given
