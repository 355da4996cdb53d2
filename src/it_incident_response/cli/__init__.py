"""The command line, `iir`; calls system only."""


def main() -> None:
    """Run `iir`."""
