"""A trained model at work: loaded without the run's framework, it embeds images, searches, and is exported."""
