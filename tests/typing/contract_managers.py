"""What type checkers infer and refuse for `InstanceManager`, `demand` and `Demand`. Checked, never run."""

from collections.abc import Generator, Iterator, Set
from contextlib import contextmanager
from typing import assert_type

from refcount import Demand, InstanceManager, SharedResource, demand, refcounted_attribute, refcounted_method


class Worker:
    """What is managed."""

    needs_gpu = True


class GpuWorker(Worker):
    """A more special one."""

    gpus = 1


class Stranger:
    """Something else."""


class Context:
    """What a resource gives."""


@contextmanager
def open_context() -> Generator[Context]:
    """Open any context manager."""
    yield Context()


def any_wants(instance: object) -> bool:
    """Fit every manager."""
    return instance is not None


def worker_wants(worker: Worker) -> bool:
    """Fit managers of workers."""
    return worker.needs_gpu


def gpu_worker_wants(worker: GpuWorker) -> bool:
    """Fit managers of special workers only."""
    return worker.gpus > 0


def no_predicate(worker: Worker) -> str:
    """Give no bool."""
    return str(worker)


def any_hook(*arguments: object) -> None:
    """Fit as a hook."""


class Manager(InstanceManager[Worker]):
    """Has every kind of demand."""

    def begin(self) -> None:
        """Fit as a hook."""

    def end(self) -> int:
        """Fit as a hook."""
        return 0

    by_name = demand("needs_gpu")
    by_any = demand(any_wants)
    by_predicate = demand(worker_wants, acquire=begin, release=end)
    with_hooks = demand("needs_gpu", acquire=any_hook, release=lambda manager: manager.instances)
    with_resource = demand("needs_gpu", acquire=begin, resource=SharedResource.of(Context))
    with_context = demand(worker_wants, resource=open_context)
    by_lambda = demand(lambda worker: worker.needs_gpu)
    by_lambda_with_context = demand(lambda worker: worker.needs_gpu, resource=open_context)
    by_annotated: demand[Worker, Context] = demand(lambda worker: worker.needs_gpu, resource=open_context)
    by_annotated_without: demand[Worker] = demand(lambda worker: worker.needs_gpu)

    def update(self, workers: tuple[Worker, ...]) -> None:
        """Fit as a hook that is told of changes."""

    told = demand("needs_gpu", changed=update)
    told_by_lambda = demand(worker_wants, changed=lambda manager, workers: manager.update(workers))
    lambdas = demand(
        lambda worker: worker.needs_gpu,
        acquire=lambda manager: manager.begin(),
        release=lambda manager: manager.end(),
        changed=update,
        resource=open_context,
    )
    context = refcounted_attribute(Context)

    @refcounted_attribute
    def session(self) -> Generator[Context]:
        """See the manager."""
        yield Context()

    @refcounted_method
    def device(self) -> Generator[Context]:
        """Give leases as well."""
        yield Context()

    with_attribute = demand("needs_gpu", resource=context)
    with_session = demand(lambda worker: worker.needs_gpu, resource=session)
    with_method = demand(worker_wants, resource=device, release=lambda manager: manager.end())
    unfit = demand(gpu_worker_wants)


class GpuManager(InstanceManager[GpuWorker]):
    """Manages special workers with a predicate for all."""

    by_predicate = demand(worker_wants)


class Derived(Manager):
    """Inherits the demands."""


manager = Manager(instances=[Worker(), GpuWorker()])

# On the class: the descriptor itself.
assert_type(Manager.by_name, demand[object, None])
assert_type(Manager.with_resource, demand[object, Context])

# On an instance: a live set of the manager's own type.
assert_type(manager.by_name, Demand[Worker, None])
assert_type(manager.by_any, Demand[Worker, None])
assert_type(manager.by_predicate, Demand[Worker, None])
assert_type(manager.by_lambda, Demand[Worker, None])
assert_type(manager.by_lambda_with_context.value, Context)
assert_type(manager.by_annotated, Demand[Worker, Context])
assert_type(manager.by_annotated_without, Demand[Worker, None])
assert_type(manager.told, Demand[Worker, None])
assert_type(manager.told_by_lambda, Demand[Worker, None])
assert_type(manager.lambdas, Demand[Worker, Context])
assert_type(manager.with_attribute, Demand[Worker, Context])
assert_type(manager.with_session, Demand[Worker, Context])
assert_type(manager.with_method, Demand[Worker, Context])
assert_type(manager.with_hooks, Demand[Worker, None])
assert_type(manager.with_resource, Demand[Worker, Context])
assert_type(manager.with_context.value, Context)
assert_type(GpuManager().by_predicate, Demand[GpuWorker, None])
assert_type(Derived().with_resource, Demand[Worker, Context])
assert_type(manager.by_name.usecount, int)
assert_type(iter(manager.by_name), Iterator[Worker])
assert_type([worker.needs_gpu for worker in manager.by_name], list[bool])
demanding: Set[Worker] = manager.by_name
of_gpu_workers = GpuManager().by_predicate
of_workers: Demand[Worker, object] = of_gpu_workers

# The manager.
assert_type(manager.instances, tuple[Worker, ...])
assert_type(len(manager), int)
assert_type(next(iter(manager)), Worker)
manager.add_instance(GpuWorker())
manager.remove_instance(manager.instances[0])
manager.refresh(manager.instances[0])
manager.clear()
InstanceManager[Worker]()
with Manager() as scoped:
    assert_type(scoped, Manager)

# Mistakes.
manager.by_name = True  # type: ignore[assignment]  # it follows the instances
manager.by_name.add(Worker())  # type: ignore[attr-defined]  # it is read-only
manager.by_name.usecont  # type: ignore[attr-defined]  # a typo
manager.by_nam  # type: ignore[attr-defined]  # a typo
Manager.by_name.usecount  # type: ignore[attr-defined]  # of no instance
with manager.with_resource:  # type: ignore[attr-defined]  # the manager holds it
    pass
manager.by_name.usecount = 3  # type: ignore[misc]  # to look at
manager.by_name.value.port  # type: ignore[attr-defined]  # it has no resource
manager.with_resource.vaule  # type: ignore[attr-defined]  # a typo
manager.instances.append(Worker())  # type: ignore[attr-defined]  # it is a tuple
manager.add_instance(Stranger())  # type: ignore[arg-type]  # of another type
manager.remove_instance("worker")  # type: ignore[arg-type]  # of another type
manager.refresh()  # type: ignore[call-arg]  # no instance
Manager([Stranger()])  # type: ignore[list-item]  # of another type
demand()  # type: ignore[call-arg]  # what tells who demands is missing
demand(3)  # type: ignore[arg-type]  # neither a name nor a predicate
demand(no_predicate)  # type: ignore[arg-type]  # no bool
demand("needs_gpu", acquire=3)  # type: ignore[arg-type]  # no function
demand("needs_gpu", acquire=lambda: None)  # type: ignore[arg-type, misc]  # it is handed the manager
demand("needs_gpu", resource=Context)  # type: ignore[arg-type]  # no context manager
demand("needs_gpu", aquire=any_hook)  # type: ignore[call-arg]  # a typo
demand("needs_gpu", changed=any_wants)  # type: ignore[arg-type]  # it is handed the demanders as well
demand("needs_gpu", resource=Manager.by_name)  # type: ignore[arg-type]  # no resource
Demand("needs_gpu")  # type: ignore[arg-type]  # a capital
# Known holes: the name of an attribute cannot be checked, nor of which manager's class a hook is a method, nor what a
# lambda does. That a predicate cannot take every instance, only pyright sees.
demand("needs_gqu", release=Derived.end)
demand("x", acquire=lambda m: m.adn(), release=lambda m: m.ned)
demand(lambda worker: worker.needs_gqu)
manager.unfit  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]


def delete() -> None:
    """Do what types accept of every descriptor that has a `__delete__`, and what raises at run time."""
    del manager.by_name


class NoManager:
    """Has a demand, which only managers can have."""

    gpu = demand("needs_gpu")


NoManager().gpu  # type: ignore[call-overload]  # its class is no manager
