"""Whether a file that is held open is still the one that its path names."""

from pathlib import Path

from it_incident_response.errors import StoreUnavailable


class FileIdentity:
    """Remembers which file a database is; a removed file takes writes and keeps none of them."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._log = path.with_name(path.name + "-wal")
        self._opened: tuple[int, int] | None = None

    def remember(self) -> None:
        """Take the file that the path names now for the one in use."""
        self._opened = self._named()

    def require_in_place(self, *, is_written: bool = True) -> None:
        """Raise `StoreUnavailable` if the file in use has lost its name.

        After a write (`is_written`) its write-ahead log has to be there as well.
        """
        try:
            is_in_place = self._named() == self._opened
            is_in_place = is_in_place and (self._log.exists() or not is_written)
        except OSError:
            is_in_place = False
        if not is_in_place:
            raise StoreUnavailable(
                f"sqlite:///{self._path}: the file was removed or replaced while it was in use",
                hint="nothing is kept any more: stop iir, put the file back, and start iir again",
            )

    def _named(self) -> tuple[int, int]:
        found = self._path.stat()
        return found.st_dev, found.st_ino
