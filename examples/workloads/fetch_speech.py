"""Puts the recordings that only pocketsphinx's source archive carries into the cache."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from workloads.common import CACHE

REQUIREMENT = "pocketsphinx==5.1.1"


def main() -> None:
    """Download the archive with pip and unpack its test recordings, unless that was done."""
    if list(CACHE.glob("pocketsphinx-*/test/data")):
        return
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        pip = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "-q",
            "--no-deps",
            "--no-binary",
            "pocketsphinx",
        ]
        subprocess.run([*pip, "-d", folder, REQUIREMENT], check=True)
        (archive,) = Path(folder).glob("pocketsphinx-*.tar.gz")
        with tarfile.open(archive) as tar:
            members = [m for m in tar.getmembers() if "/test/data/" in m.name]
            tar.extractall(CACHE, members=members, filter="data")


if __name__ == "__main__":
    main()
