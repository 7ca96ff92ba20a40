"""The services follow the templates, so that a new one made from them is like the others."""

import ast
import re

import pytest

from ops.commands import new
from ops.console.cli import CommandError
from ops.project import catalogue, new_service


@pytest.fixture
def rendered(service) -> dict[str, str]:
    """What the templates make of the service's own shape."""
    if len(service.files.served) > 1:
        pytest.skip("the templates are of services of one model; this one serves several at once")
    return new.render(new.shape_of(service))


def test_a_new_service_cannot_begin_with_several_models():
    with pytest.raises(
        CommandError, match=r"multi-model serves llama-3\.1-8b and qwen3-32b at once.* Start from another"
    ):
        new.shape_of(catalogue.find("multi-model"))


@pytest.mark.parametrize("text", ["name: mine\n", None], ids=["without-it", "no-file"])
def test_what_a_new_service_takes_over_and_is_not_there_is_named(tmp_path, text):
    file = tmp_path / "services" / "mine" / "service.yaml"
    file.parent.mkdir(parents=True)
    if text:
        file.write_text(text)
    said = "lacks worker_nodes" if text else "There is no"
    with pytest.raises(CommandError, match=said) as error:
        new_service.search("worker_nodes:\n(.*)", file, "worker_nodes")
    assert "services/mine/service.yaml" in str(error.value)


@pytest.mark.parametrize("file", ["service.yaml", "Containerfile", "probe.yaml"])
def test_file_is_its_template_filled_in(service, rendered, file):
    assert (service.folder / file).read_text() == rendered[file]


def test_readme_has_its_name_and_the_sections_that_checks_and_docs_speak_of():
    service = catalogue.find("small-size-llm")
    made = new.render(new.shape_of(service))["README.md"]

    def sections(text):
        return re.findall(r"^#.*", text, re.MULTILINE)

    assert sections(made) == sections((service.folder / "README.md").read_text())


def test_serve_py_has_the_parts_of_the_template_in_its_order(service, rendered):
    def parts(text):
        module = ast.parse(text)
        names = [ast.unparse(node.targets[0]) for node in module.body if isinstance(node, ast.Assign)]
        names += [ast.unparse(node.target) for node in module.body if isinstance(node, ast.AnnAssign)]
        app = module.body[-1]
        return (
            [name for name in names if name in ("DEPLOYMENT", "MODELS", "GATED")],
            app.name,
            ast.unparse(app.body[-1]),
        )

    *in_order, build = parts(rendered["serve.py"])
    text = (service.folder / "serve.py").read_text()
    assert list(parts(text)[:2]) == in_order
    assert build in ast.unparse(ast.parse(text)), "what is not of its own it builds as all others do"


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
