"""Jobs that nobody waits for: order, limit, failures, closing."""

import threading

import pytest

from sam_perception.background_jobs import BackgroundJobs

LONG_S = 30.0


class Gate:
    """A job that begins, says so, and ends when it is let."""

    def __init__(self):
        self.begun, self.let = threading.Event(), threading.Event()

    def __call__(self):
        self.begun.set()
        assert self.let.wait(LONG_S)


@pytest.fixture
def failures():
    return []


@pytest.fixture
def jobs(failures):
    jobs = BackgroundJobs(failures.append, "test jobs", limit=3)
    yield jobs
    jobs.close()


@pytest.fixture
def gate(jobs):
    gate = Gate()
    jobs.submit(gate)
    assert gate.begun.wait(LONG_S)
    yield gate
    gate.let.set()


def finish(jobs, gate):
    done = threading.Event()
    jobs.submit_latest(done.set)
    gate.let.set()
    assert done.wait(LONG_S)


def test_jobs_in_line_are_done_in_order_and_before_the_one_that_stands_back(jobs, gate):
    done, last = [], threading.Event()
    jobs.submit_latest(lambda: (done.append("latest"), last.set()))
    jobs.submit(lambda: done.append("first"))
    jobs.submit(lambda: done.append("second"))
    gate.let.set()
    assert last.wait(LONG_S)
    assert done == ["first", "second", "latest"]


def test_of_the_latest_only_the_latest_is_done(jobs, gate):
    done, last = [], threading.Event()
    for i in range(5):
        jobs.submit_latest(lambda i=i: (done.append(i), last.set()))
    gate.let.set()
    assert last.wait(LONG_S)
    jobs.close()
    assert done == [4]


def test_a_full_line_refuses_and_the_caller_knows(jobs, gate):
    done = []
    assert [jobs.submit(lambda i=i: done.append(i)) for i in range(5)] == [True, True, True, False, False]
    finish(jobs, gate)
    assert done == [0, 1, 2]


def test_a_job_that_fails_is_told_of_and_the_next_one_done(jobs, gate, failures):
    jobs.submit(lambda: 1 / 0)
    finish(jobs, gate)
    assert [type(error) for error in failures] == [ZeroDivisionError]


def test_close_finishes_what_has_begun_and_forgets_the_rest(jobs, gate):
    done = []
    jobs.submit(lambda: done.append("waited"))
    closing = threading.Thread(target=jobs.close)
    closing.start()
    closing.join(0.05)
    assert closing.is_alive()
    gate.let.set()
    closing.join(LONG_S)
    assert not closing.is_alive()
    assert done == []
    jobs.close()


def test_a_job_may_close_its_own_thread(jobs):
    closed = threading.Event()
    jobs.submit(lambda: (jobs.close(), closed.set()))
    assert closed.wait(LONG_S)
