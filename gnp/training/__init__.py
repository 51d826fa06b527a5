"""One loop for every method. ``run`` assembles a run from a config; ``loop`` trains."""
