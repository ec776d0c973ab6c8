"""One test for all combinations of layouts, dtypes, memories and the like, in place of a test for each."""

from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from inspect import signature
from itertools import product
from typing import Any

import pytest

Test = Callable[..., None]


def every(**values: Mapping[str, Any] | Iterable[Any]) -> Callable[[Test], Test]:
    """Runs a test once per combination of ``values``; an error names all combinations that fail.

    A mapping gives names to its values. Around cases of a few milliseconds pytest would spend more time than in them.
    """
    named = [
        [(f"{parameter}={name}", value) for name, value in given.items()]
        if isinstance(given, Mapping)
        else [(f"{parameter}={value}", value) for value in given]
        for parameter, given in values.items()
    ]
    combinations = list(product(*named))

    def decorate(test: Test) -> Test:
        @wraps(test)
        def test_of_all(**fixtures: Any) -> None:
            failures: dict[str, BaseException] = {}
            for combination in combinations:
                names, chosen = zip(*combination, strict=True)
                try:
                    test(**dict(zip(values, chosen, strict=True)), **fixtures)
                except (Exception, pytest.fail.Exception) as error:
                    failures[", ".join(names)] = error
            if failures:
                lines = [f"{names}: {type(error).__name__}: {error}" for names, error in failures.items()]
                head = f"{len(failures)} of {len(combinations)} combinations fail:"
                raise AssertionError("\n".join([head, *lines])) from next(iter(failures.values()))

        of_fixtures = [p for p in signature(test).parameters.values() if p.name not in values]
        test_of_all.__signature__ = signature(test).replace(parameters=of_fixtures)  # type: ignore[attr-defined]
        return test_of_all

    return decorate
