"""Exit, fork and Ctrl-C: what becomes of shared resources when the process does not go on as before.

Each test is a program of its own. The hooks print, so that what a program prints is what was done, and in which order.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from tests.helpers.interrupting import Every
from tests.helpers.programs import Ended, run_program

HOOKS = """
import atexit, math, os, signal, sys, threading, time
from contextlib import contextmanager
from refcount import SharedResource

def say(*words):  # one call of the system for each line, so that lines of several threads stay whole
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())

def make(name, stop=lambda: None, **options):
    @contextmanager
    def opener():
        say("start", name)
        yield name
        say("stop", name)
        stop()
    return SharedResource(opener, name=name, **options)

def touch(resource):
    with resource():
        pass

def in_thread(work, daemon=False):
    thread = threading.Thread(target=work, daemon=daemon)
    thread.start()
    return thread
"""

EXIT_BUDGET = 0.5
"""Seconds that the end of a process may take beyond what the hooks need."""

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
needs_sigint = pytest.mark.skipif(sys.platform == "win32", reason="needs SIGINT to another process")


def run(
    source: str,
    *arguments: str,
    options: tuple[str, ...] = (),
    timeout: float = 30.0,
    meanwhile: Callable[[subprocess.Popen[str]], object] = lambda process: None,
) -> Ended:
    """Run a program that begins with the hooks above."""
    return run_program(HOOKS + source, *arguments, options=options, timeout=timeout, meanwhile=meanwhile)


def check(ended: Ended, *lines: str, returncode: int = 0, stderr: str = "") -> None:
    """The program printed exactly this, complained of nothing else, and ended so."""
    assert (ended.lines, ended.stderr, ended.returncode) == (list(lines), stderr, returncode)


def duration(work: Callable[[], Ended]) -> tuple[Ended, float]:
    """Run a program twice, the second time measured, when everything it needs is warm."""
    work()
    ended = work()
    return ended, ended.seconds


# --- Exit -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("linger", ["0.2", "1000.0", "math.inf"])
def test_what_lingers_is_stopped_at_exit(linger: str) -> None:
    """R11: whatever the linger, each is stopped once, at once and without a word, the youngest first."""
    program = f"""
resources = [make(name, linger={linger}) for name in "abc"]
for each in resources: touch(each)
say("end")
"""
    check(run(program), "start a", "start b", "start c", "end", "stop c", "stop b", "stop a")


def test_lingers_end_in_the_main_thread_at_exit() -> None:
    """One after the other, as long as none takes long, so that nothing is stopped beside what it was started after."""
    program = """
def tell(): say(threading.current_thread() is threading.main_thread()); time.sleep(0.01)
resources = [make(str(number), stop=tell, linger=math.inf) for number in range(6)]
for each in resources: touch(each)
"""
    ended = run(program)
    stops = [line for number in reversed(range(6)) for line in (f"stop {number}", "True")]
    check(ended, *(f"start {number}" for number in range(6)), *stops)


def test_a_linger_does_not_delay_the_exit() -> None:
    """A process with a hundred lingering resources ends within half a second of one that has none."""
    idle, without = duration(lambda: run("say('end')"))
    ended, seconds = duration(
        lambda: run("resources = [make(str(n), linger=1000.0) for n in range(100)]\nfor each in resources: touch(each)")
    )
    assert (ended.returncode, ended.stderr, idle.returncode) == (0, "", 0)
    assert sorted(ended.lines) == sorted(f"{what} {number}" for what in ("start", "stop") for number in range(100))
    assert seconds - without < EXIT_BUDGET


def test_the_exit_takes_what_the_hooks_need() -> None:
    """Three stop hooks that need 0.2 s each delay the exit by no more than the sum of that, and half a second."""
    program = """
needed = []
def slow():
    began = time.monotonic()
    time.sleep(0.2)
    needed.append(time.monotonic() - began)
@atexit.register
def tell():  # registered last, run first of the atexit handlers, but after what lingers was stopped
    say("hooks needed", sum(needed))
resources = [make(name, stop=slow, linger=math.inf) for name in "abc"]
for each in resources: touch(each)
"""
    delays: list[float] = []
    for _ in range(3):  # the best of three: what a busy machine adds is none of ours
        _, without = duration(lambda: run("say('end')"))
        ended, seconds = duration(lambda: run(program))
        assert ended.lines[:4] == ["start a", "start b", "start c", "stop c"]
        assert sorted(ended.lines[4:6]) == ["stop a", "stop b"]  # `c` takes long, so that nobody waits for anybody
        needed = float(ended.lines[6].rpartition(" ")[2])
        assert needed >= 0.6
        assert (ended.stderr, ended.returncode) == ("", 0)
        delays.append(seconds - without - needed)
        if delays[-1] < EXIT_BUDGET:
            break
    assert min(delays) < EXIT_BUDGET, delays


@pytest.mark.parametrize("shown", [False, True])
def test_what_is_held_at_exit_is_stopped_with_a_warning(shown: bool) -> None:
    """A forgotten lease: stopped once, with a `ResourceWarning` that names it; silent unless those are shown."""
    ended = run(
        "lease = make('camera').acquire()\nsay('end')", options=("-W", "always::ResourceWarning") if shown else ()
    )
    assert ended.lines == ["start camera", "end", "stop camera"]
    assert ended.returncode == 0
    if shown:
        assert "ResourceWarning: camera is still held at exit" in ended.stderr
        assert ended.stderr.count("Warning") == 1
    else:
        assert ended.stderr == ""


def test_a_warning_that_is_an_error_does_not_keep_it_from_being_stopped() -> None:
    """With warnings as errors each is stopped all the same, and the error is reported."""
    ended = run("leases = [make(name).acquire() for name in 'ab']", options=("-W", "error::ResourceWarning"))
    assert ended.lines == ["start a", "start b", "stop b", "stop a"]
    assert ended.stderr.count("ResourceWarning: a is still held") == 1
    assert ended.stderr.count("ResourceWarning: b is still held") == 1


def test_a_lingering_non_daemon_thread_is_stopped() -> None:
    """A resource that is a non-daemon thread: it is stopped before the interpreter waits for it."""
    program = """
class Worker(threading.Thread):
    def __init__(self):
        super().__init__()
        self.go = threading.Event()
    def run(self):
        self.go.wait()
    def end(self):
        self.go.set()
        self.join()
        say("ended")
worker = SharedResource.of(Worker, start=Worker.start, stop=Worker.end, linger=math.inf)
touch(worker)
say("end")
"""
    check(run(program), "end", "ended")


def test_a_stop_hook_that_raises_at_exit() -> None:
    """Its error goes to the logger and `sys.unraisablehook`, once each; the others are stopped, the status is kept."""
    program = """
import logging
logging.basicConfig(format="logged by %(name)s: %(message)s")
sys.unraisablehook = lambda args: say("hooked", repr(args.exc_value))
def fail(): raise OSError("stuck")
resources = [make("a", linger=math.inf), make("b", stop=fail, linger=math.inf), make("c", linger=math.inf)]
for each in resources: touch(each)
held = [make("d").acquire(), make("e", stop=fail).acquire()]
sys.exit(7)
"""
    ended = run(program)
    assert ended.lines == [
        *(f"start {name}" for name in "abcde"),
        "stop c",
        "stop b",
        "hooked OSError('stuck')",
        "stop a",
        "stop e",
        "hooked OSError('stuck')",
        "stop d",
    ]
    assert ended.stderr.count("logged by refcount: error in the stop of b") == 1
    assert ended.stderr.count("logged by refcount: error in the stop of e") == 1
    assert ended.returncode == 7


def test_a_stop_hook_that_raises_at_exit_prints_its_error_once() -> None:
    """Without logging set up, the interpreter's own hook prints the traceback, and nothing else is printed."""
    ended = run("def fail(): raise OSError('stuck')\ntouch(make('b', stop=fail, linger=math.inf))")
    assert ended.lines == ["start b", "stop b"]
    assert ended.stderr.startswith("Exception ignored in")
    assert ended.stderr.count("OSError: stuck") == 1
    assert ended.returncode == 0


def test_a_stop_hook_that_takes_long_at_exit() -> None:
    """The exit waits for it, and the others that linger are stopped meanwhile, as far as threads can be had."""
    program = """
def slow(): time.sleep(0.6); say("slow is over")
resources = [make(name, linger=1000.0) for name in "ab"]
resources.append(make("slow", stop=slow, linger=1000.0))
for each in resources: touch(each)
"""
    ended = run(program)
    assert ended.lines[:4] == ["start a", "start b", "start slow", "stop slow"]
    assert sorted(ended.lines[4:6]) == ["stop a", "stop b"]  # their timer thread runs already
    assert ended.lines[6:] == ["slow is over"]
    assert (ended.stderr, ended.returncode) == ("", 0)


@needs_sigint
def test_two_stop_hooks_that_hang_until_ctrl_c() -> None:
    """Each Ctrl-C ends the wait for one, whichever thread it hangs in; all others are stopped, once each."""
    program = """
def hang():
    say("hangs")
    threading.Event().wait()
resources = [make("a", linger=math.inf), *(make("b", stop=hang, linger=math.inf) for _ in range(2))]
for each in resources: touch(each)
held = make("c").acquire()
"""

    def interrupt(process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        while process.stdout.readline() != "hangs\n":
            pass
        for _ in range(10):
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(1.0)
                return

    ended = run(program, meanwhile=interrupt)
    assert sorted(ended.lines) == ["hangs", "stop a", "stop b", "stop c"]
    assert ended.stderr.count("\nKeyboardInterrupt") == 2


@needs_sigint
@pytest.mark.parametrize("kind", ["lingering", "held"])
def test_a_stop_hook_that_hangs_until_ctrl_c(kind: str) -> None:
    """A hook that hangs for ever at exit: Ctrl-C ends it, and the others are still stopped, once each."""
    program = f"""
def hang():
    say("hangs")
    while True: time.sleep(0.01)  # CPython misses a signal that comes right before the main thread begins to wait
options = dict(linger=math.inf) if {kind!r} == "lingering" else dict()
resources = [make("a", **options), make("b", stop=hang, **options), make("c", **options)]
leases = [each.acquire() for each in resources]
if options:
    for lease in leases: lease.release()
"""

    def interrupt(process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        while process.stdout.readline() != "hangs\n":
            pass
        process.send_signal(signal.SIGINT)

    ended = run(program, meanwhile=interrupt)
    assert ended.lines == ["stop a"]
    assert "KeyboardInterrupt" in ended.stderr


def test_consumers_in_other_threads_finish_their_work() -> None:
    """Rule 12: they may acquire and release while the interpreter waits for them; lingers are 0 then."""
    program = """
main_over, entered = threading.Event(), threading.Event()
camera, other = make("camera", linger=1000.0), make("other", stop=main_over.set, linger=1000.0)
def work():
    with camera():
        entered.set()
        assert main_over.wait(20)
        say("working")
    touch(other)
    touch(camera)
    say("worked")
in_thread(work)
assert entered.wait(20)
touch(other)
say("end")
"""
    check(
        run(program),
        *("start camera", "start other", "end", "stop other"),  # the main thread's part
        *("working", "stop camera", "start other", "stop other", "start camera", "stop camera", "worked"),
    )


@pytest.mark.parametrize("shown", [False, True])
def test_a_daemon_thread_that_holds(shown: bool) -> None:
    """It does not keep the process; what it holds is stopped once, with a `ResourceWarning`."""
    program = """
entered = threading.Event()
def hold():
    with make("camera")():
        entered.set()
        threading.Event().wait()
in_thread(hold, daemon=True)
assert entered.wait(20)
say("end")
"""
    ended = run(program, options=("-W", "always::ResourceWarning") if shown else ())
    assert ended.lines == ["start camera", "end", "stop camera"]
    assert ("camera is still held at exit" in ended.stderr) is shown
    assert ended.stderr.count("Warning") == int(shown)
    assert ended.returncode == 0


def test_daemon_threads_that_hammer_do_not_keep_the_process() -> None:
    """Daemon threads that acquire and release for ever: the process ends, and starts and stops are balanced."""
    program = """
camera, other = make("camera", linger=0.001), make("other")
def hammer():
    while True:
        touch(camera)
        touch(other)
for _ in range(4): in_thread(hammer, daemon=True)
time.sleep(0.2)
"""
    ended = run(program)
    for name in ("camera", "other"):
        starts, stops = ended.lines.count(f"start {name}"), ended.lines.count(f"stop {name}")
        assert starts > 0
        assert starts - stops in (0, 1), (name, starts, stops)
    assert (ended.stderr, ended.returncode) == ("", 0)


@pytest.mark.parametrize(
    ("last", "returncode", "complaint"),
    [
        ("sys.exit(3)", 3, ""),
        ("raise ValueError('mine')", 1, "ValueError: mine"),
        ("in_thread(lambda: sys.exit(3))", 0, ""),
        ("raise KeyboardInterrupt", -2 if sys.platform != "win32" else 1, "KeyboardInterrupt"),
    ],
)
def test_however_it_exits_what_lingers_is_stopped(last: str, returncode: int, complaint: str) -> None:
    """`sys.exit` in main or in a thread, an exception, an interrupt: stopped once, and the status is what it was."""
    ended = run(f"touch(make('a', linger=math.inf))\n{last}")
    assert ended.lines == ["start a", "stop a"]
    assert (complaint in ended.stderr) if complaint else (ended.stderr == "")
    assert ended.returncode == returncode


def test_os_exit_stops_nothing() -> None:
    """`os._exit` is what it is: no hook runs, nothing hangs."""
    check(run("touch(make('a', linger=math.inf))\nos._exit(4)"), "start a", returncode=4)


def test_atexit_handlers_that_use_a_resource() -> None:
    """Handlers registered before and after the import can use resources: each hold starts and stops one of its own."""
    before = """
import atexit
@atexit.register
def last():
    touch(camera)
    say("last")
"""
    program = """
camera = make("camera", linger=1000.0)
touch(camera)
@atexit.register
def first():
    touch(camera)
    say("first")
say("end")
"""
    ended = run_program(before + HOOKS + program)
    once = ["start camera", "stop camera"]
    check(ended, "start camera", "end", "stop camera", *once, "first", *once, "last")


def test_an_atexit_handler_that_forgets_a_lease() -> None:
    """Registered after the import, its lease is stopped at exit; the process ends in any case."""
    program = """
camera = make("camera")
leases = []
@atexit.register
def first(): leases.append(camera.acquire())
say("end")
"""
    check(run(program), "end", "start camera", "stop camera")


def test_a_lease_that_is_lost_at_the_very_end() -> None:
    """A lease that only the end of the modules drops was stopped before; nothing is printed, nothing stopped twice."""
    program = """
class Holder:
    def __init__(self): self.me, self.lease = self, make("camera").acquire()
holder = Holder()
"""
    check(run(program), "start camera", "stop camera")


def test_closed_and_idle_resources_do_nothing_at_exit() -> None:
    """What was stopped before is not stopped again."""
    program = """
a, b = make("a", linger=math.inf), make("b")
touch(a); a.flush(); touch(b); b.close(); touch(a); a.close()
say("end")
"""
    check(run(program), "start a", "stop a", "start b", "stop b", "start a", "stop a", "end")


def test_a_resource_that_stands_on_another() -> None:
    """What was acquired in a start is given back in the stop, and both are stopped once, the dependent one first."""
    program = """
ground = make("ground", linger=math.inf)
@contextmanager
def house():
    with ground():
        say("start house")
        yield
        say("stop house")
house = SharedResource(house, name="house", linger=math.inf)
touch(house)
"""
    check(run(program), "start ground", "start house", "stop house", "stop ground")


@needs_sigint
def test_ctrl_c_in_the_main_thread_while_others_work() -> None:
    """The main thread ends by an interrupt; the consumers in other threads finish, and everything is stopped once."""
    program = """
camera, other = make("camera"), make("other", linger=math.inf)
entered, caught = threading.Event(), threading.Event()
def work():
    with camera():
        entered.set()
        assert caught.wait(20)
        touch(other)
        say("worked")
in_thread(work)
assert entered.wait(20)
touch(other)
try:
    say("ready")
    while True: time.sleep(0.01)  # as above, where it hangs
finally:
    caught.set()
"""

    def interrupt(process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        while process.stdout.readline() != "ready\n":
            pass
        process.send_signal(signal.SIGINT)

    ended = run(program, meanwhile=interrupt)
    assert ended.stderr.count("KeyboardInterrupt") == 1
    assert ended.lines.count("stop camera") == 1
    assert ended.lines.count("worked") == 1
    assert (
        1 <= ended.lines.count("stop other") == ended.lines.count("start other") + 1
    )  # its first start was read above
    assert ended.returncode == -signal.SIGINT


# --- Fork -----------------------------------------------------------------------------------------------------------

FORK = """
import warnings
warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)

def fork(child):
    '''Run `child` in a forked process, to its normal exit, and return its exit status.'''
    pid = os.fork()
    if not pid:
        # The exit of a forked child is that of a program: atexit handlers run, modules are cleared.
        global say
        parent_say = say
        say = lambda *words: parent_say("child:", *words)
        child()
        sys.exit(0)
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.kill(pid, signal.SIGABRT)  # faulthandler shows where it is stuck
    os.waitpid(pid, 0)
    sys.exit("the child is stuck")
"""


def run_forking(source: str, *, options: tuple[str, ...] = ("-W", "always::ResourceWarning")) -> Ended:
    """Run a program that forks; warnings of resources are shown, so that none may come."""
    return run(FORK + source, options=options)


@needs_fork
def test_a_forked_child_that_drops_and_exits_stops_nothing() -> None:
    """R10: inherited holds and lingers, dropped in the child and left to its normal exit, stop nothing there."""
    program = """
held, lingering = make("held"), make("lingering", linger=1000.0)
lease = held.acquire()
touch(lingering)
def child():
    global lease
    say(held.state.value, held.usecount, held.generation, lingering.state.value, lease.held)
    say(lease.release())
    del lease
    import gc; gc.collect()
assert fork(child) == 0
say(held.state.value, held.usecount, lingering.state.value, lease.held)
lease.release()
"""
    check(
        run_forking(program),
        "start held",
        "start lingering",
        "child: idle 0 None idle False",
        "child: False",
        "running 1 lingering True",
        "stop held",
        "stop lingering",
    )


@needs_fork
def test_a_forked_child_stops_nothing_that_nobody_refers_to() -> None:
    """Rule 13: what lingers and is kept by the library alone is not left in the child, not even by being forgotten."""
    program = """
touch(make("lingering", linger=math.inf))
def child():
    import gc; gc.collect()
assert fork(child) == 0
"""
    check(run_forking(program), "start lingering", "stop lingering")


def test_a_closed_resource_stays_closed_in_a_forked_child() -> None:
    """A closed resource never opens again, wherever."""
    program = """
camera = make("camera")
camera.close()
def child():
    say(camera.state.value)
assert fork(child) == 0
"""
    check(run_forking(program), "child: closed")


def test_a_forked_child_starts_its_own() -> None:
    """The child's resources work: starts, lingers on a timer thread of its own, stops at its own exit."""
    program = """
camera, other = make("camera", linger=0.01), make("other", linger=1000.0)
lease = camera.acquire()
touch(other)
def child():
    touch(camera)
    deadline = time.monotonic() + 10
    while camera.state.value != "idle" and time.monotonic() < deadline: time.sleep(0.002)
    say(camera.state.value)
    touch(other)
    say("child ends")
assert fork(child) == 0
say(camera.usecount, other.state.value)
lease.release()
camera.wait_stopped(10)
"""
    check(
        run_forking(program),
        "start camera",
        "start other",
        "child: start camera",
        "child: stop camera",
        "child: idle",
        "child: start other",
        "child: child ends",
        "child: stop other",
        "1 lingering",
        "stop camera",
        "stop other",
    )


@needs_fork
def test_fork_inside_a_with_statement() -> None:
    """The child leaves the with-statement that the parent entered: nothing is stopped twice, the parent's goes on."""
    program = """
camera = make("camera")
with camera() as value:
    pid = os.fork()
    say("in the body", camera.usecount)
    if pid: assert os.waitpid(pid, 0)[1] == 0
say("after", "parent" if pid else "child")
"""
    ended = run_forking(program)
    assert ended.lines[0] == "start camera"
    assert sorted(ended.lines[1:-2]) == ["after child", "in the body 0", "in the body 1"]
    assert ended.lines[-2:] == ["stop camera", "after parent"]
    assert (ended.stderr, ended.returncode) == ("", 0)


@needs_fork
def test_inherited_generators_are_never_closed() -> None:
    """The `finally` of an inherited opener runs in the child at no stage of its exit, and in the parent once."""
    program = """
@contextmanager
def opener():
    say("start")
    try:
        yield [1]
    finally:
        say("finally", os.getpid() == parent)
parent = os.getpid()
resources = [SharedResource(opener, name="one"), SharedResource(opener, name="two", linger=math.inf)]
lease = resources[0].acquire()
touch(resources[1])
def child():
    global resources, lease
    resources.clear()
    del lease
    import gc; gc.collect()
assert fork(child) == 0
say("parent")
lease.release()
"""
    check(run_forking(program), "start", "start", "parent", "finally True", "finally True")


@needs_fork
def test_fork_in_the_middle_of_another_threads_start_and_stop() -> None:
    """The child has neither the thread nor what it started: it starts anew, and the parent's start and stop go on."""
    program = """
go, starting, stopping = threading.Event(), threading.Event(), threading.Event()
parent = os.getpid()
@contextmanager
def slow_start():
    say("start slow")
    starting.set()
    if os.getpid() == parent: assert go.wait(20)
    yield
    say("stop slow")
slow = SharedResource(slow_start, name="slow")
def wait():
    stopping.set()
    if os.getpid() == parent: assert go.wait(20)
stopper = make("stopper", stop=wait)
threads = [in_thread(lambda: touch(slow)), in_thread(lambda: touch(stopper))]
assert starting.wait(20) and stopping.wait(20)
def child():
    say(slow.state.value, stopper.state.value)
    touch(slow)
    touch(stopper)
    slow.close(timeout=5)
    stopper.close(timeout=5)
assert fork(child) == 0
say(slow.state.value, stopper.state.value)
go.set()
for thread in threads: thread.join()
"""
    ended = run_forking(program)
    assert sorted(ended.lines[:3]) == ["start slow", "start stopper", "stop stopper"]
    assert ended.lines[3:] == [
        "child: idle idle",
        "child: start slow",
        "child: stop slow",
        "child: start stopper",
        "child: stop stopper",
        "starting stopping",
        "stop slow",
    ]
    assert (ended.stderr, ended.returncode) == ("", 0)


@needs_fork
def test_fork_while_waiting_inside_a_hook() -> None:
    """A start hook that forks: the child's exit from inside the hook stops nothing, and the parent's start goes on."""
    program = """
@contextmanager
def opener():
    say("start")
    assert fork(lambda: say("in the hook")) == 0
    yield
    say("stop")
touch(SharedResource(opener, name="forking"))
"""
    check(run_forking(program), "start", "child: in the hook", "stop")


@needs_fork
def test_observers_in_a_forked_child() -> None:
    """Two observed resources are told of their own changes in the child, each of all of them and of no other."""
    program = """
seen = {name: [] for name in "ab"}
resources = {name: make(name, stop=lambda: None) for name in "ab"}
for name, resource in resources.items():
    resource.observe(seen[name].append)
    resource.acquire().release()
forked, leases = [], []
def use_both(usecount):  # while it runs, what it changes of `a` is still to be told, and what it changes of `b` is told
    if forked and usecount == 1 and not leases:
        for name in "abb": leases.append(resources[name].acquire())
resources["a"].observe(use_both)
held = {name: resource.acquire() for name, resource in resources.items()}
def child():
    forked.append(True)
    for told in seen.values(): told.clear()
    leases.append(resources["a"].acquire())
    for lease in leases: lease.release()
    assert seen == {"a": [1, 2, 1, 0], "b": [1, 2, 1, 0]}, seen
assert fork(child) == 0
assert seen == {"a": [1, 0, 1], "b": [1, 0, 1]}, seen
for lease in held.values(): lease.release()
say("right")
"""
    ended = run_forking(program)
    assert ended.lines[-3:] == ["stop a", "stop b", "right"], ended
    assert (ended.stderr, ended.returncode) == ("", 0)


@needs_fork
def test_fork_while_other_threads_hammer(every: Every) -> None:
    """Forks at arbitrary moments, with any lock held by a thread that the child lacks: each child works and ends."""
    program = (
        f"forks = {40 // every(3)}"
        + """
alive = 0
@contextmanager
def opener():
    yield
resources = [SharedResource(opener, linger=linger, overlap=over) for linger in (0, 0.0005) for over in (False, True)]
for resource in resources[::2]: resource.observe(lambda usecount: None)
over = threading.Event()
def hammer():
    while not over.is_set():
        for resource in resources:
            with resource():
                pass
            resource.acquire(timeout=20).release()
        resources[0].invalidate()
        resources[1].flush()
threads = [in_thread(hammer) for _ in range(3)]
sys.setswitchinterval(1e-5)
def child():
    for resource in resources:
        assert resource.usecount == 0, resource
        with resource():
            assert resource.usecount == 1, resource
        resource.close(timeout=5)
began, number = time.monotonic(), 0
try:
    while number < forks and (number < 5 or time.monotonic() < began + 10):
        assert fork(child) == 0, number
        number += 1
finally:
    over.set()
for thread in threads: thread.join()
for resource in resources:
    resource.close(timeout=5)
    assert resource.usecount == 0
say("right")
"""
    )
    check(run_forking(program), "right")


@needs_fork
def test_multiprocessing_fork() -> None:
    """The pools of the standard library fork too: their workers use resources of their own and end in peace."""
    program = """
import multiprocessing
camera = make("camera", linger=1000.0)
def work(number):
    with camera() as value:
        return number, value
if __name__ == "__main__":
    lease = camera.acquire()
    with multiprocessing.get_context("fork").Pool(2) as pool:
        print(pool.map(work, range(4)), flush=True)
        pool.close()
        pool.join()
    say(camera.usecount, lease.held)
    lease.release()
"""
    ended = run_forking(program)
    assert "[(0, 'camera'), (1, 'camera'), (2, 'camera'), (3, 'camera')]" in ended.lines
    assert ended.lines[-2:] == ["1 True", "stop camera"]
    assert (ended.stderr, ended.returncode) == ("", 0)


@needs_fork
def test_the_parent_is_untouched_by_what_the_child_does() -> None:
    """Closing, invalidating and flushing in the child changes nothing in the parent."""
    program = """
camera, other = make("camera"), make("other", linger=math.inf)
lease = camera.acquire()
touch(other)
def child():
    camera.close(force=True)
    other.invalidate()
    other.flush()
    say(camera.state.value, other.state.value)
assert fork(child) == 0
say(camera.state.value, other.state.value)
touch(camera)
lease.release()
"""
    check(
        run_forking(program),
        "start camera",
        "start other",
        "child: closed idle",
        "running lingering",
        "stop camera",
        "stop other",
    )


@needs_fork
def test_a_grandchild() -> None:
    """A child of a child is a child like any other."""
    program = """
camera = make("camera")
lease = camera.acquire()
def grandchild():
    touch(camera)
def child():
    own = camera.acquire()
    assert fork(grandchild) == 0
    own.release()
assert fork(child) == 0
lease.release()
"""
    check(
        run_forking(program),
        "start camera",
        "child: start camera",
        "child: child: start camera",
        "child: child: stop camera",
        "child: stop camera",
        "stop camera",
    )


# --- What is left as it is, and threads of a resource's own ----------------------------------------------------------


@pytest.mark.parametrize("generator", [True, False])
def test_what_is_to_be_left_is_left_at_exit(generator: bool) -> None:
    """Held or lingering: without a warning, and not even by the end of the interpreter, which closes generators."""
    program = """
@contextmanager
def opener():
    say("start")
    try:
        yield
    finally:
        say("stop")
hooks = SharedResource.of(lambda: say("start"), stop=lambda _: say("stop"), at_exit="leave", linger=math.inf)
generators = SharedResource(opener, at_exit="leave", linger=math.inf)
mount = generators if GENERATOR else hooks
touch(mount)
lease = mount.acquire()
other = SharedResource(opener, at_exit="leave", linger=100.0)
touch(other)
say("end")
""".replace("GENERATOR", repr(generator))
    check(run(program, options=("-W", "always")), "start", "start", "end")


def test_what_is_to_be_left_stops_like_any_other_before() -> None:
    """The option speaks of the end of the process only."""
    program = """
mount = make("mount", at_exit="leave")
touch(mount)
mount.inc()
mount.close(force=True)
say("end")
"""
    check(run(program), "start mount", "stop mount", "start mount", "stop mount", "end")


@pytest.mark.parametrize("linger", ["0", "math.inf"])
def test_a_thread_of_its_own_stops_at_exit(linger: str) -> None:
    """What is held and what lingers, each in its thread, which keeps no process from its end."""
    program = f"""
places = []
@contextmanager
def opener():
    places.append(threading.current_thread())
    yield
    say("stop", threading.current_thread() is places[0])
camera = SharedResource(opener, name="camera", own_thread=True, linger={linger})
if camera.acquire().release() if {linger} else camera.inc():
    say("lingers")
"""
    ended = run(program, options=("-W", "ignore::ResourceWarning"))
    check(ended, *(["lingers"] if linger != "0" else []), "stop True")


@needs_sigint
def test_ctrl_c_while_its_own_thread_starts_it() -> None:
    """The consumer is let go at once; what comes up late is undone, and the process waits for that."""
    program = """
@contextmanager
def opener():
    say("starting")
    gate.wait(20)
    say("start")
    yield
    say("stop")
gate = threading.Event()
camera = SharedResource(opener, own_thread=True)
try:
    camera.acquire()
except KeyboardInterrupt:
    say("interrupted", camera.state.value)
gate.set()
"""

    def press(process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        assert process.stdout.readline() == "starting\n"
        time.sleep(0.1)  # the main thread sleeps by now: a signal that comes a moment before would not wake it
        process.send_signal(signal.SIGINT)

    check(run(program, meanwhile=press), "interrupted stopping", "start", "stop")


@needs_fork
def test_a_forked_child_has_threads_of_its_own() -> None:
    """It leaves alone what the parent's thread has started, and starts another one."""
    program = """
camera = make("camera", own_thread=True)
lease = camera.acquire()
def child():
    touch(camera)
    camera.inc()
    camera.dec()
assert fork(child) == 0
lease.release()
"""
    check(
        run_forking(program),
        "start camera",
        *["child: start camera", "child: stop camera"] * 2,
        "stop camera",
    )


@needs_fork
def test_holds_without_a_lease_are_the_parents() -> None:
    """In the child there is none to give back."""
    program = """
from refcount import UnderflowException
camera = make("camera")
camera.inc()
def child():
    try:
        camera.dec()
    except UnderflowException as error:
        say(type(error).__name__, camera.usecount)
assert fork(child) == 0
camera.dec()
"""
    check(run_forking(program), "start camera", "child: UnderflowException 0", "stop camera")


@pytest.mark.parametrize("last", ["touch(mount)", "time.sleep(0.2)"])
def test_what_lingers_when_the_main_thread_is_over_is_left(last: str) -> None:
    """Whether it has begun to linger after that, or its linger is over then."""
    program = f"""
mount = make("mount", at_exit="leave", linger=0.05)
def work():
    threading.main_thread().join()
    time.sleep(0.01)
    {last}
    say(mount.state.value)
in_thread(work)
touch(mount)
"""
    check(run(program), "start mount", "lingering")


@needs_fork
def test_a_hook_in_its_own_thread_forks_and_goes_on() -> None:
    """The child ends with the hook; the parent has its resource."""
    program = """
def start(_value):
    pid = os.fork()
    if pid:
        os.waitpid(pid, 0)
        say("parent")
    else:
        say("child")
camera = SharedResource.of(object, start=start, own_thread=True)
with camera():
    say("up")
"""
    check(run_forking(program), "child", "parent", "up")
