"""A small real filesystem inside a host: filled with old files, cleaned by whoever is tested."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

_DAY_S = 86_400


@dataclass(frozen=True, kw_only=True)
class Filesystem:
    """A mounted filesystem; `path` reaches it from here, `mount_point` is its name in the host."""

    path: Path
    mount_point: str

    @property
    def used_ratio(self) -> float:
        """Used share of the space that an ordinary user may use, 0 to 1, as `df` counts it."""
        numbers = os.statvfs(self.path)
        used = numbers.f_blocks - numbers.f_bfree
        return used / (used + numbers.f_bavail)

    def fill(
        self, ratio: float, *, folder: str = "cache", files: int = 8, age_days: int = 30
    ) -> None:
        """Write files of that age into `folder` until `ratio` of the space is used."""
        target = self.path / folder
        target.mkdir(parents=True, exist_ok=True)
        numbers = os.statvfs(self.path)
        used = numbers.f_blocks - numbers.f_bfree
        wanted_blocks = ratio * (used + numbers.f_bavail) - used
        size = max(0, int(wanted_blocks * numbers.f_frsize / files))
        written_at = time.time() - age_days * _DAY_S
        for number in range(files):
            file = target / f"{folder}-{number}.old"
            with file.open("wb") as stream:
                os.posix_fallocate(stream.fileno(), 0, size)
            os.utime(file, (written_at, written_at))

    def empty(self) -> None:
        """Delete every file in every folder."""
        for file in self.path.glob("*/*"):
            file.unlink()

    def files(self, folder: str = "cache") -> list[str]:
        """Return the names of the files left in `folder`."""
        return sorted(path.name for path in (self.path / folder).glob("*"))
