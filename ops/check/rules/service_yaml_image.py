"""The image that a service runs on: one, and where it is Anyscale's, one that Anyscale has."""

import difflib
import re
from collections.abc import Iterator

from ops.check import registry
from ops.check.finding import Finding, make_finding
from ops.project.containerfile import images as containerfile_images
from ops.project.place import Place
from ops.project.service_files import ServiceFiles

OF_ANYSCALE = re.compile(r"anyscale/(?!image/)")
"""Images that Anyscale publishes; anyscale/image/... are those that an organisation has built."""


def quick_findings(files: ServiceFiles) -> Iterator[Finding]:
    image_uri, containerfile = files.yaml.get("image_uri"), files.yaml.get("containerfile")
    if image_uri and containerfile:
        yield make_finding(
            files,
            registry.IMAGE_AND_CONTAINERFILE,
            files.yaml.place("image_uri"),
            what=f"service.yaml names an image, {image_uri}, and a containerfile, {containerfile}.",
        )
    if not image_uri and not containerfile:
        yield make_finding(
            files,
            registry.NO_IMAGE,
            files.yaml.place("image_uri"),
            what="service.yaml names no image_uri and no containerfile.",
            fix=f"Write image_uri: {files.versions.get('base_image', 'anyscale/ray-llm:<tag>')}.",
        )


def findings(files: ServiceFiles) -> Iterator[Finding]:
    """Images that the installed Anyscale SDK does not list; those of other registries are not judged."""
    from anyscale.client.openapi_client.models.supportedbaseimagesenum import SUPPORTEDBASEIMAGESENUM

    listed = SUPPORTEDBASEIMAGESENUM.allowable_values
    for place, image in images(files):
        if OF_ANYSCALE.match(image) and image.partition("@")[0] not in listed:
            close = difflib.get_close_matches(image, listed, n=1)
            yield make_finding(
                files,
                registry.UNKNOWN_IMAGE,
                place,
                what=f"Anyscale does not list the image {image}.",
                fix=f"Write one that it lists, such as {close[0]}." if close else "Write one that it lists.",
            )


def images(files: ServiceFiles) -> Iterator[tuple[Place, str]]:
    """What is run, or what the containerfile that is built names: with one, nothing reads image_uri."""
    image_uri, containerfile = files.yaml.get("image_uri"), files.yaml.get("containerfile")
    if isinstance(image_uri, str) and not containerfile:
        yield files.yaml.place("image_uri"), image_uri
    if isinstance(containerfile, str):
        path = files.root / containerfile
        for number, image in containerfile_images(files.lines(path)):
            yield Place(path, number), image
