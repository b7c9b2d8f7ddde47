"""Tests that read like the laws; shared set-up in `conftest.py`."""
