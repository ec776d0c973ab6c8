"""Many runs by one command: plans, launchers, searches, and states of runs."""

import warnings

# Hydra's launchers register configs under the same names as ours; merging the two is intended.
warnings.filterwarnings("ignore", message=r"\s*'hydra/launcher/\w+' is validated against ConfigStore schema")
