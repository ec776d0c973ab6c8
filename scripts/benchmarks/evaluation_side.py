"""One side of a comparison of evaluations: a process that scores a set with the package on its path when asked."""

import time

from benchmarks.evaluation import RECALL_AT, Layout, clustered
from benchmarks.measuring import threads, use_threads
from benchmarks.turns import channel
from metriscope.evaluation.retrieval import retrieval_metrics


class Case:
    """A set of embeddings, and whether more than Recall@K is computed of it."""

    def __init__(self, layout: tuple[int, int, int], whole: bool) -> None:
        self.data = clustered(Layout(*layout))
        self.whole = whole
        self.found: dict[str, float] = {}

    def seconds(self) -> float:
        """Time of one evaluation."""
        before = time.perf_counter()
        self.found = retrieval_metrics(*self.data, RECALL_AT, map_at_r=self.whole, mrr=self.whole)
        return time.perf_counter() - before

    def result(self) -> dict[str, float]:
        """What the last evaluation found."""
        return self.found


def main() -> None:
    """Answer requests: ``case`` with its arguments, or the name of a method of the present case."""
    use_threads(threads())
    connection = channel()
    while True:
        name, *arguments = connection.recv()
        if name == "case":
            case = Case(*arguments)
            connection.send(None)
        else:
            connection.send(getattr(case, name)(*arguments))


if __name__ == "__main__":
    main()
