from metriscope.config.plain import flatten


def test_flatten():
    assert flatten({"a": {"b": {"c": 1}, "d": [1, {"e": 2}]}, "f": {}, "g": None}) == {
        "a.b.c": 1,
        "a.d": [1, {"e": 2}],
        "f": {},
        "g": None,
    }
