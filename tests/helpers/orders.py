"""Orders of events that once broke a rule: what the walk has found, as short as it goes."""

from tests.helpers.model import Config

PLAIN, LINGERS, OVERLAP, EXCLUSIVE = Config(), Config(lingers=True), Config(overlap=True), Config(exclusive=True)

ONCE_BROKEN = {
    "its start is taken over while another one is hot": (
        PLAIN,
        "A asks; B asks; A is interrupted; somebody invalidate; C asks; C has started; B asks; B has started",
    ),
    "its stop is taken over while another one is hot": (
        OVERLAP,
        "A asks; A has started; A leaves; B asks; A is interrupted in a stop; B asks; B has started; A resumes",
    ),
    "stopped under a lease and a waiter": (
        PLAIN,
        "A asks; B asks; B asks; A has started; somebody expel; somebody expels; somebody has stopped; A leaves; "
        "B asks",
    ),
    "a touch after an old look at the clock": (
        LINGERS,
        "A asks; A has started; A leaves; A gives back; B asks; somebody looks at the clock to touch; "
        "the timer passes; B leaves; somebody touches; the timer goes off; the timer looks at the linger",
    ),
    "a leave after an old look at the clock": (
        LINGERS,
        "A asks; A has started; A leaves; A gives back; B asks; C asks; B looks at the clock; the timer passes; "
        "C leaves; B leaves; the timer goes off; the timer looks at the linger",
    ),
    "others come and leave between a leave and its alarm": (
        LINGERS,
        "A asks; A has started; A leaves; B asks; the timer passes; B leaves; the timer goes off; "
        "the timer looks at the linger; A gives back",
    ),
    "it slept before it took over a start": (
        PLAIN,
        "A asks; A has started; A leaves; B asks; B asks; A has stopped; C asks; C is interrupted; B asks; "
        "B has started",
    ),
    "an older start ends while another one is current": (
        PLAIN,
        "A asks; somebody invalidate; B asks; B has started; A has started; C reads hot",
    ),
}

ONCE_BROKEN_BY_TASKS = {
    "a start that was given up is done, and nobody wants it": (
        PLAIN,
        "A asks; somebody invalidate; A is cancelled; the keeper of 1 has started",
    ),
    "the same, closed by force": (
        PLAIN,
        "A asks; somebody invalidate; somebody close by force; the keeper of 1 has started",
    ),
    "another one must not start beside the stop of that": (
        EXCLUSIVE,
        "A asks; somebody invalidate; A is cancelled; the keeper of 1 has started; A asks; the keeper of 1 has stopped",
    ),
}
