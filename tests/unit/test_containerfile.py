"""The images that a containerfile is built on, however its FROM is written."""

from pathlib import Path

import pytest

from ops.check.rules import contract
from ops.project import containerfile
from ops.project.catalogue import Service

OLD = "anyscale/ray-llm:2.58.0-py312-cu130"
SAME = "anyscale/ray-llm:2.59.0-py312-cu130"
FORMS = {
    "plain": (f"FROM {OLD}", 1),
    "for a platform": (f"FROM --platform=linux/amd64 {OLD}", 1),
    "for the platform of a variable, as a stage": (f"from --platform=$BUILDPLATFORM {OLD} as base", 1),
    "with the version in an argument": ("ARG RAY=2.58.0\nFROM anyscale/ray-llm:${RAY}-py312-cu130", 2),
    "with an argument that is the whole": (f'ARG BASE="{OLD}"\n# the base\nFROM $BASE', 3),
    "with a default where it is used": ("ARG RAY\nFROM anyscale/ray-llm:${RAY:-2.58.0}-py312-cu130", 2),
    "on two lines": (f"FROM --platform=linux/amd64 \\\n  {OLD}", 1),
    "in quotes": (f'FROM "{OLD}"', 1),
    "by a later stage": (f"FROM {SAME} AS base\nFROM base AS made\nFROM {OLD}", 3),
    "with its registry": (f"FROM docker.io/{OLD}", 1),
    "with a digest": (f"FROM {OLD}@sha256:{'ab' * 32}", 1),
}


@pytest.fixture
def built(copied: Path) -> Service:
    """A service that is built from its Containerfile."""
    return Service(copied / "services" / "gpt_oss")


@pytest.mark.parametrize("form", FORMS)
def test_another_image_is_found_however_it_is_written(form, built):
    text, line = FORMS[form]
    (built.folder / "Containerfile").write_text(f"{text}\nRUN true\n")
    (finding,) = contract.image(built.files)
    assert (finding.check, finding.file, finding.line) == (
        "image-of-other-versions",
        "services/gpt_oss/Containerfile",
        line,
    )


@pytest.mark.parametrize("form", FORMS)
def test_the_image_of_versions_toml_is_known_however_it_is_written(form, built):
    text, _ = FORMS[form]
    (built.folder / "Containerfile").write_text(text.replace("2.58.0", "2.59.0"))
    assert list(contract.image(built.files)) == []


def test_a_containerfile_without_an_image():
    assert list(containerfile.images(["# FROM x", "RUN echo FROM y", "FROM"])) == []
