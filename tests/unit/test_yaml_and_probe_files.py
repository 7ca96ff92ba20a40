"""Mistakes in the YAML files of a service are named, with their place."""

import pytest

from ops.console.cli import CommandError
from ops.project import probe_file, yaml_models


def test_key_given_twice_is_an_error_with_both_lines(tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text("outer:\n  name: one\n  size: 2\n  name: two\n")
    with pytest.raises(ValueError, match=r"a\.yaml: name is given twice, in lines 2 and 4"):
        yaml_models.load(file)


def test_merged_mappings_are_no_duplicates(tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text("base: &base {a: 1}\nother: {<<: *base, a: 2}\n")
    assert yaml_models.load(file)["other"] == {"a": 2}


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("model: m\nchecks: [{name: c, expect: {contnt: x}}]", r"checks\.0\.expect\.contnt"),
        ("checks: []", "model: Field required"),
        ("model: m\nchecks: [{name: c, request: {}, expect: {follows_schema: true}}]", "no json_schema"),
        ("model: [", "not valid YAML"),
    ],
)
def test_faults_of_a_probe_file_are_named(tmp_path, text, named):
    file = tmp_path / "probe.yaml"
    file.write_text(text)
    with pytest.raises(CommandError, match=named):
        probe_file.load(file)


def test_missing_probe_file(tmp_path):
    with pytest.raises(CommandError, match="cannot be read"):
        probe_file.load(tmp_path / "none.yaml")
