"""Threads that come with their consumers: a group that thumbnails pictures, with two workers for each album in work.

All workers take from one queue. An album brings its workers with it, so that two at once do not halve the pace, and
takes them along when it is done; with the last one the group is gone.
"""

import queue
import threading

from refcount import WorkerGroup

pictures: queue.Queue[tuple[str, dict[str, int]]] = queue.Queue()


def make_thumbnails(stopping: threading.Event) -> None:
    while not stopping.is_set():
        try:
            picture, album = pictures.get(timeout=0.01)
        except queue.Empty:
            continue
        album[picture] = len(picture)  # the work
        pictures.task_done()


group = WorkerGroup(make_thumbnails, workers=lambda albums: 2 * albums)


def thumbnails_of(*names: str) -> dict[str, int]:
    album: dict[str, int] = {}
    with group():
        for name in names:
            pictures.put((name, album))
        pictures.join()
    return album


def main() -> None:
    with group() as workers:
        print("one album:", workers.threads, "threads")
        with group():
            print("two albums:", workers.threads, "threads")
    print("none:", group.threads, "threads")

    album = thumbnails_of("sea", "forest", "mountains")
    print("thumbnails:", dict(sorted(album.items())))
    print("afterwards:", group.threads, "threads")


if __name__ == "__main__":
    main()
