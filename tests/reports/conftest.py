import pytest
from studies import RECALL, known

from metriscope.reports.comparison import Comparison, compare


@pytest.fixture
def found() -> Comparison:
    return compare(known(), metrics=[RECALL, "test/variance_intra"], baseline={"loss.name": "contrastive"})
