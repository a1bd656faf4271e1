"""A manager that converts its data only while a managed instance depends on it, without a line of counting."""

from abc import ABC, abstractmethod

from refcount import InstanceManager, demand


class NormalType:
    def __init__(self, value: bool) -> None:
        self.value = value


class ExpensiveType:
    def __init__(self, value: bool) -> None:
        self.value = value

    @staticmethod
    def from_normal(normal: NormalType) -> "ExpensiveType":
        return ExpensiveType(normal.value)


class ParentClass(ABC):
    @abstractmethod
    def execute(self, data: NormalType | ExpensiveType) -> None: ...


class NormalSubclass(ParentClass):
    def execute(self, data: NormalType | ExpensiveType) -> None:
        assert isinstance(data, NormalType)


class ExpensiveSubclass(ParentClass):
    def __init__(self) -> None:
        # Makes the manager convert the data
        self.example_attr = True

    def execute(self, data: NormalType | ExpensiveType) -> None:
        assert isinstance(data, ExpensiveType)


class ExampleManager(InstanceManager[ParentClass]):
    convert_data_users = demand("example_attr")

    def do_something(self) -> None:
        data = NormalType(value=True)
        if self.convert_data_users:
            print("Manager performing type conversion")
            expensive_data = ExpensiveType.from_normal(data)
        else:
            print("Manager not performing type conversion")
            expensive_data = None

        for instance in self.instances:
            if expensive_data is not None and instance in self.convert_data_users:
                instance.execute(expensive_data)
            else:
                instance.execute(data)


def main() -> None:
    manager = ExampleManager(instances=[NormalSubclass(), NormalSubclass()])
    manager.do_something()

    expensive = ExpensiveSubclass()
    manager.add_instance(expensive)
    expensive2 = ExpensiveSubclass()
    manager.add_instance(expensive2)
    manager.do_something()
    print(manager.convert_data_users.usecount)

    manager.remove_instance(expensive)
    manager.do_something()
    print(manager.convert_data_users.usecount)

    manager.remove_instance(expensive2)
    manager.do_something()

    manager.add_instance(ExpensiveSubclass())
    manager.do_something()


if __name__ == "__main__":
    main()
