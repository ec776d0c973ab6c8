from metriscope.errors import nearest


def test_nearest():
    assert nearest("tripplet", ["contrastive", "triplet"]) == "; did you mean 'triplet'?"
    assert nearest("zzz", ["contrastive", "triplet"]) == "."
