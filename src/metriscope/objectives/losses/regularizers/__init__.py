"""Losses that say how a batch lies as a whole, to be added to others."""
