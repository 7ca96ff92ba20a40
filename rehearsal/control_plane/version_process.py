"""Starts, watches and stops the processes that serve the versions."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil

from ops.local import preflight
from ops.local.cluster_env import cluster_env
from rehearsal.control_plane.process_spec import Report, Spec

CHECKOUT = Path(__file__).resolve().parents[2]
TOOLS = ("laptop", "ops", "rehearsal")
STOP_TIMEOUT_S = 60  # guess: stopping Ray takes up to 10 s on an idle machine


class VersionProcess:
    """One running Serve application with its Ray cluster."""

    def __init__(self, folder: Path, application: dict[str, Any], env_vars: dict[str, str]) -> None:
        """Start it from `folder`/tree; its files are beside that.

        Args:
            folder: the version's folder, with its unpacked package in `tree`.
            application: an entry of `applications`, as in a service.yaml.
            env_vars: those of the service.
        """
        tree, tools = folder / "tree", link_tools(folder / "tools")
        self.log = folder / "log"
        self.port = preflight.free_port()
        self._report_file = folder / "report.json"
        spec = Spec(
            name=application.get("name", "default"),
            import_path=application["import_path"],
            route_prefix=application.get("route_prefix", "/"),
            args=application.get("args", {}),
            port=self.port,
            report_file=self._report_file,
        )
        spec_file = folder / "spec.json"
        spec_file.write_text(spec.model_dump_json(indent=2))
        with self.log.open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "rehearsal.control_plane.run_version", spec_file],
                cwd=tree,
                env=environment(env_vars, tree, tools),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._stop_deadline: float | None = None

    def report(self) -> Report:
        """How far it is; UNHEALTHY once it has ended."""
        try:
            report = Report.model_validate_json(self._report_file.read_text())
        except FileNotFoundError:
            report = Report(state="STARTING", message="waiting for its process to start")
        status = self._process.poll()
        if status is not None and report.state != "UNHEALTHY":
            return Report(state="UNHEALTHY", message=f"Its process has ended with status {status}; see its log.")
        return report

    def stop(self) -> None:
        """Ask it to end, again at each call; `has_stopped` tells when it has."""
        if self._stop_deadline is None:
            self._stop_deadline = time.monotonic() + STOP_TIMEOUT_S
        # Not SIGTERM: see ops.local.stopping. Again, as a process that has only just begun may inherit to ignore it.
        self._process.send_signal(signal.SIGINT)

    def has_stopped(self) -> bool:
        """Whether it has ended with all that it started; ends by force what outlives its time."""
        if self._process.poll() is None:
            if self._stop_deadline is None or time.monotonic() < self._stop_deadline:
                return False
            self._process.kill()
            self._process.wait()
        kill_session(self._process.pid)
        return True


def link_tools(folder: Path) -> Path:
    """Make a folder with what serves a version here and is in no package: the laptop profile and our own modules.

    The checkout itself would not do. `services` and `serving` are namespace packages: Python would take a module that
    is missing in the package from there, and a version would run here that fails on Anyscale.
    """
    folder.mkdir()
    for name in TOOLS:
        (folder / name).symlink_to(CHECKOUT / name)
    return folder


def environment(env_vars: dict[str, str], tree: Path, tools: Path) -> dict[str, str]:
    """The environment of a version's process: it imports from the package, and from `tools` what is not in there."""
    env = os.environ | cluster_env(env_vars, tree)
    env.pop("RAY_ADDRESS", None)  # a cluster of its own
    env["PYTHONPATH"] = os.pathsep.join([str(tree), str(tools)])
    return env


def kill_session(session: int) -> None:
    """End by force the processes of a session, which is named by the process that began it."""
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == session:
                process.send_signal(signal.SIGKILL)
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue


class VersionProcesses:
    """All processes of the control plane."""

    def __init__(self, folder: Path, reuse: bool) -> None:
        self._folder = folder
        self._reuse = reuse
        self._processes: dict[str, VersionProcess] = {}

    def folder(self, version_id: str) -> Path:
        return self._folder / "versions" / version_id

    def start(
        self, version_id: str, package: str, application: dict[str, Any], env_vars: dict[str, str]
    ) -> VersionProcess:
        """The process of a version whose package is unpacked in its folder's `tree`."""
        runs = application | {"runtime_env": None}  # its package and its variables are separate, the rest is remarks
        key = json.dumps([package, runs, env_vars], sort_keys=True) if self._reuse else version_id
        there = self._processes.get(key)
        if there is None or there.report().state == "UNHEALTHY":
            self._processes[key] = VersionProcess(self.folder(version_id), application, env_vars)
        return self._processes[key]

    def stop(self, process: VersionProcess) -> bool:
        """Stop it, where it is not kept for another version; returns whether that is done."""
        if self._reuse:
            return True
        process.stop()
        return process.has_stopped()

    def stop_all(self) -> None:
        """Stop every process and wait for it."""
        running = list(self._processes.values())
        while running:
            for process in running:
                process.stop()
            time.sleep(0.1)
            running = [process for process in running if not process.has_stopped()]
