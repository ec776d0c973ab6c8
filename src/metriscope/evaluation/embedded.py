"""The embeddings of a whole evaluation set."""

from typing import NamedTuple

from torch import Tensor

from metriscope.evaluation.scores import QueryScores
from metriscope.evaluation.verification.of_set import Verification


class References(NamedTuple):
    """The embeddings of the training set, without augmentation."""

    embeddings: Tensor
    """(M, D) float32."""
    labels: Tensor
    """(M,) int64, in the label space of the evaluated set."""


class EvaluatedSet(NamedTuple):
    """The embeddings of a whole evaluation set, the same on every process."""

    embeddings: Tensor
    """(N, D) float32."""
    labels: Tensor
    """(N,) int64."""
    scores: QueryScores | None = None
    """The retrieval scores of its queries; None where no metric asks for them."""
    references: References | None = None
    """For metrics that ask for them."""
    positions: Tensor | None = None
    """(N,) int64, ascending: where the samples stand in the evaluated part, if that is known."""
    queries: Tensor | None = None
    """bool (N,), True for a query and False for an item of the gallery; None for leave-one-out."""
    distractors: Tensor | None = None
    """(M, D) float32, further items of the gallery of every query, which match none; None without any."""
    pairs: Verification | None = None
    """The pairs that verification is about; None for all pairs of the set, or of its two sides."""
    side: Tensor | None = None
    """(N,) int64, the modality of each sample, 0 or 1; None where there is one. A set of P pairs has N = 2 P samples,
    and pair p stands at the positions p and P + p."""
    seen: bool = True
    """Whether the classes of the set are those of the references."""

    def ranked(self) -> QueryScores:
        """The retrieval scores, which a metric that asks for :meth:`SetMetric.measures` is given."""
        if self.scores is None:
            raise LookupError("no scores, because measures() asks for none")
        return self.scores

    def verified(self) -> Verification:
        """Verification of the pairs, whose scores are counted once for all metrics of the set that came with them."""
        if self.pairs is not None:
            return self.pairs
        return Verification(self.embeddings, self.labels, None if self.side is None else self.side == 0)

    def sides(self) -> Tensor:
        """The modality of each sample, which a metric that says ``of_sides = True`` is given."""
        if self.side is None:
            raise LookupError("no sides, because the data are of one modality")
        return self.side

    def known(self) -> References:
        """The references, which a metric that asks for them is given."""
        if self.references is None:
            raise LookupError("no references, because the class does not say references = True")
        return self.references
