"""Choices that users hand in: flags and modes."""

from refcount._support.naming import short


def check_flag(what: str, flag: object) -> None:
    """Raise `TypeError`, naming `what` and the value, unless it is True or False: a text like "no" counts as true."""
    if not isinstance(flag, bool):
        raise TypeError(f"{what} must be True or False, not {short(flag)}")


def check_modes(*, overlap: bool, exclusive: bool, at_exit: str) -> None:
    """Raise `ValueError` if one of these options has no meaning, or contradicts another."""
    if exclusive and overlap:
        raise ValueError(
            "exclusive and overlap contradict each other: a newcomer waits for older generations, or it does not"
        )
    if at_exit not in ("stop", "leave"):
        raise ValueError(f"at_exit must be 'stop' or 'leave', not {short(at_exit)}")
