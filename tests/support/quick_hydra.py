"""Hydra's private functions without what they do again for every config: reading shipped files, and unused tables."""

import copy
from dataclasses import replace

from metriscope.config.files import CONFIG_DIR


def read_once(load_config):
    """Keeps what was read of the shipped configs; where a test adds a folder of its own, all is read anew."""
    known = {}

    def load(self, config_path):
        if {source.path for source in self.sources if source.scheme() == "file"} != {str(CONFIG_DIR)}:
            return load_config(self, config_path)
        if config_path not in known:
            known[config_path] = load_config(self, config_path)
        found = known[config_path]
        # Composing writes into the first config that it merges.
        return found and replace(found, config=copy.deepcopy(found.config))

    return load


def on_demand(create_map):
    """Makes the table of all choices only where a choice of a defaults list refers to another one."""

    def create(overrides, defaults_list, self_added):
        if any(one.is_interpolation() for one in defaults_list):
            return create_map(overrides, defaults_list, self_added)
        return None

    return create
