"""Tests of refcount; a package, so that helpers can be imported and ``python -m tests.<tool>`` works."""
