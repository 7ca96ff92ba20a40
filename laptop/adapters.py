"""The LoRA adapters of the laptop profile: small ones, which replicas load from an S3 as in production."""

from laptop import s3
from laptop.twins.llama_adapters import CAPITALS, adapter


def laptop_adapters() -> tuple[str, dict[str, str]]:
    """Make them where they are not cached, and start the S3 that has them.

    Returns its URI, and the environment variables with which it is read.
    """
    return s3.serve_folders({name: adapter(name) for name in CAPITALS}, "adapters")
