"""What the process of a version in the rehearsal imports: its package, and of this checkout the tools alone."""

import subprocess
import sys

import pytest

from rehearsal.control_plane.version_process import environment, link_tools


@pytest.fixture
def imported(tmp_path):
    """Imports a module as the process of a version does; returns its file, or the error."""
    tree, tools = tmp_path / "tree", link_tools(tmp_path / "tools")
    (tree / "serving").mkdir(parents=True)
    (tree / "serving" / "app.py").write_text("")

    def run(module: str) -> str:
        code = f"import {module} as imported; print(imported.__file__)"
        env = environment({}, tree, tools)
        ran = subprocess.run(
            [sys.executable, "-c", code], cwd=tree, env=env, capture_output=True, text=True, check=False
        )
        return (ran.stdout or ran.stderr.splitlines()[-1]).strip().replace(str(tmp_path), "")

    return run


def test_code_comes_from_the_package(imported):
    assert imported("serving.app") == "/tree/serving/app.py"


@pytest.mark.parametrize("module", ["serving.defaults", "services.small_size_llm.serve"])
def test_what_the_package_does_not_have_is_not_taken_from_the_checkout(module, imported):
    assert "ModuleNotFoundError" in imported(module)


@pytest.mark.parametrize("module", ["laptop.cache", "ops.local.stopping", "rehearsal.control_plane.process_spec"])
def test_what_serves_it_here_comes_from_the_checkout(module, imported):
    assert imported(module) == f"/tools/{module.replace('.', '/')}.py"
