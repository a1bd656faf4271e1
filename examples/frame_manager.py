"""A manager of frames that has a GPU context only while a worker needs one, and a budget that follows the workers.

`resource=` names an attribute of the manager's own, which sees the manager. `acquire` and `release` mark where the need
begins and ends, and `changed` is told who has it at every change; a worker that it refuses is not added.
"""

from collections.abc import Generator

from refcount import InstanceManager, demand, refcounted_attribute


class Worker:
    def __init__(self, name: str, *, megabytes: int = 0) -> None:
        self.name = name
        self.megabytes = megabytes

    def execute(self, frame: str) -> None:
        print(f"  {self.name} gets {frame}")


class FrameManager(InstanceManager[Worker]):
    def __init__(self, device: str, megabytes: int) -> None:
        super().__init__()
        self.device = device
        self.megabytes = megabytes

    @refcounted_attribute
    def context(self) -> Generator[str]:
        print(f"open {self.device}")
        yield f"context of {self.device}"
        print(f"close {self.device}")

    def share_out(self, workers: tuple[Worker, ...]) -> None:
        used = sum(worker.megabytes for worker in workers)
        if used > self.megabytes:
            raise MemoryError(f"{used} of {self.megabytes} MB are needed")
        print(f"{used} MB in use")

    gpu = demand(
        lambda worker: worker.megabytes > 0,
        resource=context,
        acquire=lambda manager: print("first one"),
        release=lambda manager: print("last one gone"),
        changed=share_out,
    )

    def show(self, frame: str) -> None:
        converted = f"{frame} in the {self.gpu.value}" if self.gpu else frame
        for worker in self.instances:
            worker.execute(converted if worker in self.gpu else frame)


def main() -> None:
    with FrameManager("gpu0", megabytes=100) as manager:
        manager.add_instance(Worker("viewer"))
        manager.show("frame 1")
        manager.add_instance(detector := Worker("detector", megabytes=60))
        try:
            manager.add_instance(Worker("tracker", megabytes=50))
        except MemoryError as error:
            print(f"no tracker: {error}")
        manager.show("frame 2")
        manager.remove_instance(detector)
        manager.show("frame 3")
        manager.add_instance(Worker("counter", megabytes=10))
    print("nobody is managed:", len(manager) == 0)


if __name__ == "__main__":
    main()
