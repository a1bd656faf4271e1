"""Small programs of the kind that people write by hand, on the library: each with the probe that a count fails.

Beside each program stands, in its test, what one writes without the library: a lock and a count. The probe is run on
both, and fails on that: so it can fail.
"""
