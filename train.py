from metriscope.cli import train

train()
