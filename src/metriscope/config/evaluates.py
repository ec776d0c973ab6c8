"""The key that the config of an evaluation has, and that of a training run has not. Imports nothing."""

EVALUATES = "evaluates"
"""Top-level key: the name of the evaluated run, seeds aside, :data:`ZERO_SHOT` or :data:`CONCATENATED`."""
ZERO_SHOT = "zero-shot"
"""Stands for a trunk with its pretrained weights; also the name of its loss, as there is none."""
CONCATENATED = "concatenated"
"""Stands for the models of all folds, whose embeddings are concatenated."""
