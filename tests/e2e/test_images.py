"""What the Containerfiles install can be installed. They are not built here: there is no builder and no base image."""

import os
import re
import subprocess
import sys
from pathlib import Path

import openai_harmony

from tests import project


def run_steps(folder: str, home: Path, **environment: str) -> None:
    """Run the RUN lines of a Containerfile, with `home` for the image's /home/ray and the pip of .venv."""
    text = (project.SERVICES / folder / "Containerfile").read_text().replace("/home/ray", str(home))
    steps = re.findall(r"^RUN (.*?[^\\])$", text, re.MULTILINE | re.DOTALL)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    subprocess.run(["bash", "-ec", "\n".join(steps)], env=os.environ | {"PATH": path} | environment, check=True)


def test_gpt_oss_gets_the_vocabulary_that_the_harmony_library_takes(tmp_path, monkeypatch):
    run_steps("gpt_oss", tmp_path)
    monkeypatch.setenv("TIKTOKEN_ENCODINGS_BASE", str(tmp_path / "harmony"))
    encoding = openai_harmony.load_harmony_encoding(openai_harmony.HarmonyEncodingName.HARMONY_GPT_OSS)
    assert encoding.decode(encoding.encode("hello")) == "hello"


def test_large_gets_a_streamer_that_is_published(root, tmp_path):
    run_steps("large_size_llm", tmp_path, PIP_DRY_RUN="1")
    lock = (root / "requirements" / "laptop.lock").read_text()
    containerfile = (project.SERVICES / "large_size_llm" / "Containerfile").read_text()
    version = re.search(r"runai-model-streamer\[.*\]==([\d.]+)", containerfile)[1]
    assert f"runai-model-streamer=={version} " in lock, "the laptop reads weights with another version"
