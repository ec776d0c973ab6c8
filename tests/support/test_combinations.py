"""A test over combinations runs each of them, and says which fail."""

import pytest
from combinations import every


def test_every_combination_runs_with_the_fixtures_of_the_test(request):
    seen = []

    @every(number=(1, 2), word={"first": "a", "second": "b"})
    def body(word, given, number):
        seen.append((number, word, given))

    body(given=request)
    assert seen == [(number, word, request) for number in (1, 2) for word in "ab"]


def test_every_failure_is_named_and_the_first_is_the_cause():
    @every(number=(1, 2, 3), word={"first": "a", "second": "b"})
    def body(word, number):
        if number == 1:
            pytest.fail("not with one")
        assert (number, word) != (3, "b"), "not these two"

    with pytest.raises(AssertionError) as caught:
        body()
    assert str(caught.value).splitlines()[:4] == [
        "3 of 6 combinations fail:",
        "number=1, word=first: Failed: not with one",
        "number=1, word=second: Failed: not with one",
        "number=3, word=second: AssertionError: not these two",
    ]
    assert str(caught.value.__cause__) == "not with one"
