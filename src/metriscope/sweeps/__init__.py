"""Many runs by one command: planned, launched, skipped, resumed, searched for and accounted for."""

import warnings

# Hydra's launchers bring a config of their own by the names that ours have: the two are meant to be merged.
warnings.filterwarnings("ignore", message=r"\s*'hydra/launcher/\w+' is validated against ConfigStore schema")
