"""The newest item wins, what is begun is finished, and an error ends nothing."""

import threading

from sam_perception.newest_worker import NewestWorker

SOON = 20.0


class Workshop:
    """A worker whose work waits until the test opens the gate."""

    def __init__(self) -> None:
        self.begun: list = []
        self.done: list = []
        self.errors: list = []
        self.gate = threading.Semaphore(0)
        self.news = threading.Condition()
        self.worker = NewestWorker(self._work, self._failed, "workshop")

    def _work(self, item) -> None:
        self._note(self.begun, item)
        self.gate.acquire()
        if isinstance(item, Exception):
            raise item
        self._note(self.done, item)

    def _failed(self, error) -> None:
        self._note(self.errors, error)

    def _note(self, where, item) -> None:
        with self.news:
            where.append(item)
            self.news.notify_all()

    def wait(self, condition) -> None:
        with self.news:
            assert self.news.wait_for(condition, SOON)


def test_skips_what_came_in_between():
    shop = Workshop()
    shop.worker.submit(1)
    shop.wait(lambda: shop.begun == [1])
    for item in (2, 3, 4):
        shop.worker.submit(item)
    shop.gate.release(2)
    shop.wait(lambda: shop.done == [1, 4])
    shop.worker.close()
    assert shop.begun == [1, 4]


def test_goes_on_after_an_error_and_hands_it_over():
    shop = Workshop()
    error = ValueError("bad")
    shop.gate.release(2)
    shop.worker.submit(error)
    shop.wait(lambda: shop.errors == [error])
    shop.worker.submit("next")
    shop.wait(lambda: shop.done == ["next"])
    shop.worker.close()


def test_close_finishes_what_is_begun_and_forgets_the_rest():
    shop = Workshop()
    shop.worker.submit(1)
    shop.wait(lambda: shop.begun == [1])
    shop.worker.submit(2)
    closing = threading.Thread(target=shop.worker.close)
    closing.start()
    while not shop.worker._closed:
        closing.join(0.001)
    shop.gate.release(2)
    closing.join(SOON)
    assert not closing.is_alive() and shop.done == [1]
    shop.worker.close()
