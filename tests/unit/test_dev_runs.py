"""The records of dev runs, read by one process while another writes them."""

import threading

import pytest

from ops.local import dev_runs


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(dev_runs, "FOLDER", tmp_path)


def test_record_is_whole_whenever_it_is_read():
    run = dev_runs.this_run("small-size-llm", "http://127.0.0.1:8000")
    run.save()
    writer = threading.Thread(target=lambda: [run.save() for _ in range(500)])
    writer.start()
    while writer.is_alive():
        assert dev_runs.running() == [run]
    writer.join()


def test_record_of_a_process_that_is_gone_is_removed():
    gone = dev_runs.this_run("small-size-llm", "http://127.0.0.1:8000").model_copy(update={"started": 0.0})
    gone.save()
    assert dev_runs.running() == []
    assert dev_runs.find(gone.pid) is None
