"""The working directories that the CLI uploads: zip files with one folder at the top."""

import zipfile
from pathlib import Path

BUCKET = "s3://rehearsal/uploads/"


class Packages:
    """The uploaded packages, each known by its URI."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "uploads"
        self._folder.mkdir(parents=True, exist_ok=True)

    def uri(self, name: str) -> str:
        return BUCKET + name

    def is_there(self, name: str) -> bool:
        return self._file(name).exists()

    def store(self, name: str, content: bytes) -> None:
        self._file(name).write_bytes(content)

    def unpack(self, uri: str, tree: Path) -> None:
        """Put what the package's folder holds into `tree`.

        Raises:
            ValueError: there is no such package.
        """
        name = uri.removeprefix(BUCKET)
        if not uri.startswith(BUCKET) or not self.is_there(name):
            raise ValueError(f"The working_dir {uri} has not been uploaded to this rehearsal.")
        unpacked = tree.with_name("package")
        with zipfile.ZipFile(self._file(name)) as package:
            package.extractall(unpacked)
        (top,) = unpacked.iterdir()
        top.rename(tree)
        unpacked.rmdir()

    def _file(self, name: str) -> Path:
        return self._folder / Path(name).name
