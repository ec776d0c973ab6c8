import itertools

import pytest

from metriscope.config.compose import compose_config
from metriscope.config.files import choices
from metriscope.config.rules import check
from metriscope.reports.history_metrics import COURSE
from metriscope.reports.papers import PAPERS, Data


@pytest.mark.parametrize("scale", ["full", "laptop"])
@pytest.mark.parametrize("name", PAPERS)
def test_every_run_of_a_study_composes(name, scale):
    paper = PAPERS[name]
    first, budgets = next(iter(paper.losses)), set()
    for loss, data in itertools.product(paper.losses, paper.data):
        further = data.laptop if scale == "laptop" else ()
        # Every loss meets the first choice, and the first loss every choice.
        for choice in data.choices if loss == first else [*data.choices][:1]:
            words = [f"experiment={paper.experiment}", f"loss={loss}", f"scale={scale}", f"dataset={choice}"]
            cfg = compose_config([*words, *further])
            check(cfg)
            budgets.add((choice, cfg.head.size, cfg.backbone.name, cfg.sampler.batch_size, cfg.trainer.max_epochs))
    assert len(budgets) == sum(len(data.choices) for data in paper.data), "losses are compared at one budget"


@pytest.mark.parametrize("paper", PAPERS.values(), ids=PAPERS)
def test_claims_speak_of_what_the_study_has(paper):
    tabled = {metric for metrics in paper.tables.values() for metric in metrics}
    for claim in paper.claims:
        assert claim.source == paper.source
        for statement in claim.statements:
            assert {*statement.higher, *statement.lower} <= set(paper.losses)
            assert not set(statement.higher) & set(statement.lower)
            assert statement.metric in tabled
            assert statement.metric in COURSE or statement.metric.startswith("test/")
    assert set(paper.losses) <= set(choices("loss"))


def test_the_first_choice_that_is_there_is_taken(tmp_path):
    data = Data("x", {"first": "a/raw", "second": "b"})
    assert data.at_hand(tmp_path) is None
    (tmp_path / "b").mkdir()
    assert data.at_hand(tmp_path) == "second"
    (tmp_path / "a" / "raw").mkdir(parents=True)
    assert data.at_hand(tmp_path) == "first"
    assert Data("y", {"embedded": None}).at_hand(tmp_path) == "embedded"
