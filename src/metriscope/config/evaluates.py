"""The key that the config of an evaluation has, and that of a training run has not. Imports nothing."""

EVALUATES = "evaluates"
"""Top-level key: the name of the evaluated run, seeds aside, or :data:`ZERO_SHOT`."""
ZERO_SHOT = "zero-shot"
"""Stands for a trunk with its pretrained weights; also the name of its loss, as there is none."""
