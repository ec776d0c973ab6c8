"""Fair comparisons of losses: searched on training classes, sealed, then repeated and tested."""
