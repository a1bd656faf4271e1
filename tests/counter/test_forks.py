"""Counters in a forked child: the count is there, and no verb waits for a thread that is not."""

from __future__ import annotations

import os

import pytest

from tests.helpers.programs import run_program

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")

SETUP = """
import os, signal, sys, threading, warnings
from refcount import Refcounter, RefcountedValue, UnderflowException

warnings.simplefilter("ignore", DeprecationWarning)  # of a fork among threads, which is what this is about
log = []

def in_child(act):
    # Tell what `act` returns in a forked child, which is killed if it hangs.
    sys.stdout.flush()
    child = os.fork()
    if not child:
        signal.alarm(20)
        try:
            print(act(), flush=True)
        finally:
            os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status:
        print("hung" if status == -signal.SIGALRM else f"ended with {status}")

class Blocked:
    # A callback that waits inside its first run.
    def __init__(self, name):
        self.name, self.inside, self.gate = name, threading.Event(), threading.Event()

    def __call__(self):
        log.append(self.name)
        if not self.inside.is_set():
            self.inside.set()
            self.gate.wait()
            log.append(f"{self.name} ended")
"""

DURING_A_CALLBACK = (
    SETUP
    + """
acquire, release = Blocked("acquire"), Blocked("release")
counter = Refcounter(int(sys.argv[1] == "release"), acquire, release)
running = acquire if sys.argv[1] == "acquire" else release
runner = threading.Thread(target=counter.inc if running is acquire else counter.dec)
runner.start()
running.inside.wait()
(release if running is acquire else acquire).inside.set()

def use(verb):
    try:
        result = verb()
    except UnderflowException:
        result = "underflow"
    return result, counter.usecount, log[1:]

def set_usecount():
    counter.usecount = 5

for verb in (
    counter.inc, counter.inc_and_test, counter.inc_not_zero, lambda: counter.add(2), lambda: counter.add_not_zero(2),
    counter.dec, counter.dec_and_test, counter.dec_not_zero, counter.dec_not_one, counter.dec_if_one,
    lambda: counter.sub(1), lambda: counter.sub_and_test(1), lambda: counter.dec_and_lock(threading.Lock()),
    set_usecount,
):
    in_child(lambda: use(verb))
running.gate.set()
runner.join()
print("parent", counter.usecount, log)
"""
)

AFTER_ACQUIRE = [
    "(None, 2, [])",  # inc
    "(False, 2, [])",
    "(True, 2, [])",
    "(None, 3, [])",
    "(True, 3, [])",
    "(None, 0, ['release'])",  # dec
    "(True, 0, ['release'])",
    "(True, 0, ['release'])",
    "(False, 1, [])",
    "(True, 0, ['release'])",
    "(None, 0, ['release'])",
    "(True, 0, ['release'])",
    "(True, 0, ['release'])",
    "(None, 5, [])",
    "parent 1 ['acquire', 'acquire ended']",
]
AFTER_RELEASE = [
    "(None, 1, ['acquire'])",  # inc
    "(True, 1, ['acquire'])",
    "(False, 0, [])",
    "(None, 2, ['acquire'])",
    "(False, 0, [])",
    "('underflow', 0, [])",  # dec
    "('underflow', 0, [])",
    "(False, 0, [])",
    "('underflow', 0, [])",
    "(False, 0, [])",
    "('underflow', 0, [])",
    "('underflow', 0, [])",
    "('underflow', 0, [])",
    "(None, 5, [])",
    "parent 0 ['release', 'release ended']",
]


@pytest.mark.parametrize(("transition", "expected"), [("acquire", AFTER_ACQUIRE), ("release", AFTER_RELEASE)])
def test_fork_while_another_thread_runs_a_callback(transition: str, expected: list[str]) -> None:
    """Whichever verb comes first in the child, it does not hang and starts from the count that the parent had."""
    ended = run_program(DURING_A_CALLBACK, transition)
    assert (ended.lines, ended.stderr, ended.returncode) == (expected, "", 0)


LATER_GENERATIONS = (
    SETUP
    + """
acquire = Blocked("acquire")
counter = RefcountedValue("old", 0, acquire, lambda: log.append("release"))
runner = threading.Thread(target=counter.inc)
runner.start()
acquire.inside.wait()
log.clear()

def use():
    # Callbacks run as ever, other threads included, and wait for each other.
    counter.value = "new"
    threads = [threading.Thread(target=lambda: [(counter.inc(), counter.dec()) for _ in range(100)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    counter.dec()
    counter.inc()
    return counter.usecount, counter.value, log

def fork_again():
    in_child(use)
    return use()

in_child(fork_again)
acquire.gate.set()
runner.join()
print("parent", counter.usecount, counter.value, log)
"""
)


def test_the_child_and_its_child_go_on_with_it() -> None:
    """Forgotten is the callback of the parent, not what comes later; nor does the parent see anything of all that."""
    ended = run_program(LATER_GENERATIONS)
    child = "(1, 'new', ['release', 'acquire'])"
    assert (ended.lines, ended.stderr) == ([child, child, "parent 1 old ['acquire ended']"], "")


IN_A_CALLBACK = (
    SETUP
    + """
def acquire():
    log.append("acquire")
    if len(log) == 1:
        in_child(use)

def use():
    # In the child's copy of the callback that has forked.
    counter.dec()
    log.append(f"used in the callback, {counter.usecount}")
    if sys.argv[1] == "fails":
        raise OSError("no camera")
    thread = threading.Thread(target=counter.inc)
    thread.start()
    thread.join()
    return log, counter.usecount

counter = Refcounter(0, acquire, lambda: log.append("release"))
counter.inc()
print("parent", counter.usecount, log)
"""
)


def test_fork_inside_a_callback() -> None:
    """The child, too, may use the counter inside the callback that has forked: that one counts as over there."""
    ended = run_program(IN_A_CALLBACK, "succeeds")
    child = "(['acquire', 'release', 'used in the callback, 0', 'acquire'], 1)"
    assert (ended.lines, ended.stderr) == ([child, "parent 1 ['acquire']"], "")


THE_CHILD_RETURNS = (
    SETUP
    + """
def acquire():
    log.append("acquire")
    if len(log) == 1 and not os.fork():
        signal.alarm(20)
        log.append("in the child")
        if sys.argv[1] != "unused":
            threads.append(threading.Thread(target=again))
            threads[0].start()
            inside.wait()  # another thread of the child runs a callback now
        if sys.argv[1] == "fails":
            raise OSError("no camera")
    elif len(log) > 1:
        log.append("again")
        inside.set()
        gate.wait()

def again():
    counter.dec()
    counter.inc()

inside, gate, threads = threading.Event(), threading.Event(), []
counter = Refcounter(0, acquire, lambda: log.append("release"))
try:
    counter.inc()
except OSError as error:
    log.append(str(error))
if log[1:]:
    others_wait = vars(counter)["_owed"] is not None
    gate.set()
    for thread in threads:
        thread.join()
    counter.inc()
    print(log, others_wait, counter.usecount, flush=True)
    os._exit(0)
os.wait()
print("parent", counter.usecount, log)
"""
)


@pytest.mark.parametrize(
    ("how", "child"),
    [
        ("unused", "['acquire', 'in the child'] False 2"),
        ("used", "['acquire', 'in the child', 'release', 'acquire', 'again'] True 2"),
        ("fails", "['acquire', 'in the child', 'release', 'acquire', 'again', 'no camera'] True 2"),
    ],
)
def test_a_callback_that_forks_returns_in_the_child(how: str, child: str) -> None:
    """If the counter was not used meanwhile, it ends as ever; else its end touches no transition that came later."""
    ended = run_program(THE_CHILD_RETURNS, how)
    assert (ended.lines, ended.stderr) == ([child, "parent 1 ['acquire']"], "")


A_LOCK_IS_HELD = (
    SETUP
    + """
counter = Refcounter(1, print, lambda: log.append("release"))
held = threading.Event()

def hold():  # as a thread does which is given the lock that it waited for just before the fork
    with vars(counter)["_transitions"].lock:
        held.set()
        threading.Event().wait()

threading.Thread(target=hold, daemon=True).start()
held.wait()
in_child(lambda: (counter.dec(), counter.usecount, log))
"""
)


def test_fork_while_a_thread_waits_its_turn() -> None:
    """A lock that another thread may just have got is not waited for in the child, callback or none."""
    ended = run_program(A_LOCK_IS_HELD)
    assert (ended.lines, ended.stderr) == (["(None, 0, ['release'])"], "")


UNDER_LOAD = (
    SETUP
    + """
sys.setswitchinterval(1e-6)
bare, called = Refcounter(), Refcounter(1, lambda: None, lambda: None)
over = threading.Event()

def use():
    while not over.is_set():
        for counter in (bare, called):
            counter.inc()
            counter.dec()
            counter.dec()
            counter.inc()

def look():
    for counter in (bare, called):
        counter.inc()
        counter.dec_not_one()
        counter.usecount = 1
        counter.dec()
        counter.inc()
    return bare.usecount, called.usecount

thread = threading.Thread(target=use)
thread.start()
for _ in range(100):
    in_child(look)
over.set()
thread.join()
print("parent", bare.usecount, called.usecount)
"""
)


def test_forks_under_load() -> None:
    """No lock is held at a fork that the child would wait for, with callbacks or without."""
    ended = run_program(UNDER_LOAD, timeout=50)
    assert (ended.lines, ended.stderr) == (["(1, 1)"] * 100 + ["parent 1 1"], "")
