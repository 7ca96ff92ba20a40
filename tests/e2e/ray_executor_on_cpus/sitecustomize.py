"""Lets vLLM's Ray executor run on CPUs: vLLM 0.27 asks Ray which GPU a worker has, and has no such question for CPUs.

Python imports a module of this name at its start, in each process of a cluster with this folder on its PYTHONPATH.
"""

import importlib.abc
import importlib.util
import sys

PLATFORM = "vllm.platforms.cpu"


class Patch(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name != PLATFORM:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        load = spec.loader.exec_module

        def load_and_patch(module):
            load(module)
            module.CpuPlatform.ray_device_key = "GPU"
            module.CpuPlatform.device_control_id_to_physical_device_id = staticmethod(int)

        spec.loader.exec_module = load_and_patch
        return spec


sys.meta_path.insert(0, Patch())
