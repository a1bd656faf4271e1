"""Tests: the counter."""
