"""Faults on purpose: the machinery of ``scripts/chaos.py``. Nothing else imports it."""
