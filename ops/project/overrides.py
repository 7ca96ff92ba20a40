"""What a command line gives in place of values of service.yaml: `--set` and `--image-uri`."""

import copy
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Self

from ops.console.options import split_setting
from ops.project.coercion import mapping, sequence
from ops.project.yaml_file import Keys, YamlFile


@dataclass(frozen=True)
class Overrides:
    arguments: tuple[tuple[str, str], ...] = ()
    """Arguments of the application, keys and values."""
    image_uri: str | None = None

    @classmethod
    def of(cls, settings: Iterable[str] | None, image_uri: str | None) -> Self:
        """The values that the options `--set` (`key=value`) and `--image-uri` give.

        Raises:
            CommandError: a setting is not of the form `key=value`.
        """
        return cls(tuple(map(split_setting, settings or ())), image_uri)

    def applied_to(self, service_yaml: YamlFile) -> YamlFile:
        """The file with these values in it, which have their option as place. A file with faults keeps them."""
        if self == NONE or not isinstance(service_yaml.data, dict):
            return service_yaml
        data = copy.deepcopy(service_yaml.data)
        options: dict[Keys, str] = {}
        if self.image_uri:
            data.pop("containerfile", None)  # the SDK would build it all the same
            data["image_uri"] = self.image_uri
            options["image_uri",] = f"--image-uri {self.image_uri}"
        for application in filter(lambda one: isinstance(one, dict), sequence(data.get("applications"))[:1]):
            if self.arguments:
                application["args"] = mapping(application.get("args")) | dict(self.arguments)
                options |= {("applications", 0, "args", key): f"--set {key}={value}" for key, value in self.arguments}
        return replace(service_yaml, data=data, options=options)


NONE = Overrides()
