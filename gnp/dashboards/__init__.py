"""A results root in wandb: its records as runs, and what shows them there, as code."""
