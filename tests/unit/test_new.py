"""The services follow the templates, so that a new one made from them is like the others."""

import ast
import re

import pytest

from ops import new
from ops.cli import CommandError


@pytest.fixture
def rendered(service) -> dict[str, str]:
    """What the templates make of the service's own shape."""
    return new.render(new.shape_of(service))


@pytest.mark.parametrize("file", ["service.yaml", "Containerfile", "probe.yaml"])
def test_file_is_its_template_filled_in(service, rendered, file):
    assert (service.folder / file).read_text() == rendered[file]


def test_readme_has_the_sections_of_the_template_in_its_order(service, rendered):
    def sections(text):
        return re.findall(r"^#.*", text, re.MULTILINE)

    assert sections((service.folder / "README.md").read_text()) == sections(rendered["README.md"])


def test_serve_py_has_the_parts_of_the_template_in_its_order(service, rendered):
    def parts(text):
        module = ast.parse(text)
        names = [ast.unparse(node.targets[0]) for node in module.body if isinstance(node, ast.Assign)]
        names += [ast.unparse(node.target) for node in module.body if isinstance(node, ast.AnnAssign)]
        return [name for name in names if name in ("DEPLOYMENT", "MODELS", "GATED")], ast.unparse(module.body[-1])

    assert parts((service.folder / "serve.py").read_text()) == parts(rendered["serve.py"])


@pytest.mark.parametrize(
    ("name", "model", "said"),
    [
        ("small-size-llm", "Qwen/Qwen3-8B", "is there already"),
        ("Another", "Qwen/Qwen3-8B", "small letters"),
        ("another-llm", "qwen3", "is not the name of a model"),
    ],
)
def test_names_that_cannot_be(name, model, said):
    with pytest.raises(CommandError, match=said):
        new.check_names(new.service_of(name), model)
