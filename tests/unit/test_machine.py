"""What the commands find out about the machine they run on."""

import os
import platform
import shutil
import socket
from collections import namedtuple
from itertools import islice
from pathlib import Path

import pytest

from ops.console.cli import CommandError
from ops.local import preflight, profile_choice, venv
from ops.local.cluster_env import HAPROXY_PORTS, cluster_env
from ops.project import catalogue
from ops.project.catalogue import Service


def test_taken_port_names_the_process():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(CommandError, match=rf"Port {port} is taken by process {os.getpid()} .*--port"):
            preflight.check_port(port)


def test_too_little_memory_says_how_much(monkeypatch):
    monkeypatch.setattr(preflight, "LAPTOP_MEMORY_GB", 1e6)
    with pytest.raises(CommandError, match=r"needs 1000000\.0 GB of free memory, and \d+\.\d GB are there"):
        preflight.check_memory()


def test_a_service_of_two_models_needs_memory_for_two_engines(monkeypatch):
    assert [preflight.engines(catalogue.find(name)) for name in ("small-size-llm", "multi-model")] == [1, 2]
    monkeypatch.setattr(preflight, "ENGINE_MEMORY_GB", 1e6)
    preflight.check_memory(engines=1)
    with pytest.raises(CommandError, match=r"needs 1000005\.5 GB of free memory"):
        preflight.check_memory(engines=2)


def test_too_little_disk_says_how_much(monkeypatch, tmp_path):
    monkeypatch.setattr(preflight, "LAPTOP_DISK_GB", 1e6)
    with pytest.raises(CommandError, match=rf"needs 1000000 GB of free disk under {tmp_path}, and \d+"):
        preflight.check_disk(tmp_path / "not" / "there" / "yet")


def test_unknown_service_names_the_nearest():
    with pytest.raises(CommandError, match="Did you mean small-size-llm"):
        catalogue.find("smal-size-llm")


def test_services_are_found_with_hyphens_and_underscores(service):
    assert catalogue.find(service.name) == catalogue.find(service.folder.name) == service


@pytest.fixture
def with_secret(tmp_path):
    (tmp_path / "service.yaml").write_text("env_vars: {RAY_SERVE_ENABLE_HA_PROXY: '1', HF_TOKEN: ''}\n")
    return Service(tmp_path).env_vars


def test_folders_of_other_machines_are_left_out(tmp_path):
    (tmp_path / "service.yaml").write_text(f"env_vars: {{HF_HOME: /not/here, TIKTOKEN_ENCODINGS_BASE: {tmp_path}}}\n")
    env = cluster_env(Service(tmp_path).env_vars, tmp_path)
    assert "HF_HOME" not in env
    assert env["TIKTOKEN_ENCODINGS_BASE"] == str(tmp_path)


def test_cluster_gets_secrets_from_the_environment(with_secret, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "a token")
    assert cluster_env(with_secret, Path.cwd())["HF_TOKEN"] == "a token"
    monkeypatch.delenv("HF_TOKEN")
    assert "HF_TOKEN" not in cluster_env(with_secret, Path.cwd())


def test_haproxy_gets_ports_that_nobody_else_gets(with_secret, monkeypatch):
    four = list(islice(filter(preflight.is_free, preflight.PORTS), 4))
    monkeypatch.setattr(preflight, "PORTS", four)
    monkeypatch.setattr(preflight, "_spoken_for", set())
    preflight.check_port(four[0])
    env = cluster_env(with_secret, Path.cwd())
    assert {int(env[name]) for name in HAPROXY_PORTS} == set(four[1:])


def test_haproxy_fits_the_limit_of_open_files(with_secret, monkeypatch):
    monkeypatch.setattr(preflight, "raise_open_files_limit", lambda: 4100)  # a real limit cannot be raised again
    assert cluster_env(with_secret, Path.cwd())["RAY_SERVE_HAPROXY_MAXCONN"] == "1600"
    monkeypatch.setattr(preflight, "raise_open_files_limit", lambda: 1_000_000)
    assert "RAY_SERVE_HAPROXY_MAXCONN" not in cluster_env(with_secret, Path.cwd())
    monkeypatch.setattr(preflight, "raise_open_files_limit", lambda: 500)
    with pytest.raises(CommandError, match=r"limit of open files is 500.*ulimit -n"):
        cluster_env(with_secret, Path.cwd())


@pytest.mark.parametrize(
    ("gpu", "cpu_build", "wanted", "chosen"),
    [
        (False, True, "auto", "laptop"),
        (False, True, "gpu", "gpu"),
        (True, False, "auto", "gpu"),
        (True, True, "auto", "laptop"),
        (True, True, "laptop", "laptop"),
    ],
)
def test_profile_fits_the_machine_and_its_vllm(monkeypatch, gpu, cpu_build, wanted, chosen):
    monkeypatch.setattr(profile_choice, "has_gpu", lambda: gpu)  # the tests run on machines that have none
    monkeypatch.setattr(profile_choice, "has_cpu_build", lambda: cpu_build)
    assert profile_choice.choose_profile(wanted) == chosen


def test_gpu_that_the_installed_vllm_cannot_use(monkeypatch):
    monkeypatch.setattr(profile_choice, "has_gpu", lambda: True)
    monkeypatch.setattr(profile_choice, "has_cpu_build", lambda: True)
    with pytest.raises(CommandError, match="vLLM's CPU build"):
        profile_choice.choose_profile("gpu")


def test_setup_says_where_it_can_run(monkeypatch, capsys):
    monkeypatch.setattr(venv, "fingerprint", lambda: "not done yet")
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    assert venv.main() == 2
    assert "Use a Linux machine" in capsys.readouterr().err


def test_setup_says_how_much_disk_it_needs(monkeypatch, capsys):
    usage = namedtuple("usage", "total used free")(10**12, 10**12, 10**9)
    monkeypatch.setattr(venv, "fingerprint", lambda: "not done yet")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    assert venv.main() == 2
    assert f"{venv.DISK_GB} GB of free disk are needed" in capsys.readouterr().err


def test_setup_finds_torch_in_a_find_links_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    assert not venv.holds_torch(str(tmp_path))
    python = "".join(platform.python_version_tuple()[:2])
    version = venv.torch_pin().removeprefix("torch==")
    (tmp_path / f"torch-{version}-cp{python}-cp{python}-manylinux_2_28_x86_64.whl").touch()
    assert venv.holds_torch(str(tmp_path))
    assert venv.holds_torch(f"file://{tmp_path}")
