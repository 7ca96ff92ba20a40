"""Lets PyPI's build of torchvision be imported beside the CPU build of torch.

PyPI has torchvision for CUDA only. Its C++ operators do not load beside a torch without CUDA, and its import then fails
where it describes two of them that nobody declared. This declares them, without code. The models here need only its
image transforms, which are written in Python. PyTorch's own index has a CPU build, which needs none of this.

`scripts/setup` puts this file, with a .pth file that imports it, into `.venv` where torchvision cannot be imported
otherwise: Ray's and vLLM's processes all start with it then.
"""

import importlib.abc
import sys

OPERATORS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
libraries = []  # their declarations last as long as they do


class DeclareBeforeImport(importlib.abc.MetaPathFinder):
    """Finds no module itself: it acts when torchvision is looked for, so that no other program imports torch."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name == "torchvision":
            sys.meta_path.remove(self)
            declare_operators()


def declare_operators() -> None:
    import torch

    library = torch.library.Library("torchvision", "DEF")
    for operator in OPERATORS:
        library.define(operator)
    libraries.append(library)


sys.meta_path.insert(0, DeclareBeforeImport())
