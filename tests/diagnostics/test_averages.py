"""Running sums of an epoch."""

import pytest
import torch

from metriscope.diagnostics.averages import Averages, ratio


def test_an_epoch_is_a_ratio_of_sums():
    averages = Averages()
    averages.add({"active": (torch.tensor(1), torch.tensor(2)), "loss": (torch.tensor(0.5), 1.0)})
    averages.add({"active": (torch.tensor(6), torch.tensor(6)), "loss": (torch.tensor(1.0), 1.0)})
    averages.add({"now and then": (torch.tensor(3.0), 2.0)})
    wanted = {"active": 7 / 8, "loss": 0.75, "now and then": 1.5}
    assert averages.compute(distributed=True) == pytest.approx(wanted)


def test_counts_beyond_float32_are_exact():
    averages = Averages()
    averages.add({"active": (torch.tensor(2**40 + 1), torch.tensor(2**40 + 1))})
    averages.add({"active": (torch.tensor(0), torch.tensor(2**40 + 1))})
    assert averages.compute(distributed=False) == {"active": 0.5}


def test_nothing_counted_is_zero():
    averages = Averages()
    assert averages.compute(distributed=False) == {}
    averages.add({"active": (torch.tensor(0), torch.tensor(0))})
    assert averages.compute(distributed=False) == {"active": 0.0}
    assert ratio(torch.tensor(0), torch.tensor(0)) == 0.0
    assert ratio(torch.tensor(3), 4.0) == 0.75


def test_state_goes_on_where_it_was():
    one, other = Averages(), Averages()
    one.add({"loss": (torch.tensor(0.1), 1.0)})
    other.load_state_dict(one.state_dict())
    for averages in (one, other):
        averages.add({"loss": (torch.tensor(0.7), 1.0)})
    assert one.compute(distributed=False) == other.compute(distributed=False)


def test_sums_hold_no_graph():
    averages = Averages()
    averages.add({"loss": (torch.ones((), requires_grad=True) * 2, 1.0)})
    assert not averages.sums["loss"].requires_grad
