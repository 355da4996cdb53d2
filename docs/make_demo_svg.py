"""Makes `docs/demo.svg` from a real run: `uv run python docs/make_demo_svg.py`."""

import io
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text

WIDTH = 118
COMMAND = ("demo", "--fault", "service_down", "--yes", "--fast")


def main() -> None:
    """Run the demo in an empty folder and draw what it printed."""
    looks = {"FORCE_COLOR": "1", "COLUMNS": str(WIDTH), "TERM": "xterm-256color"}
    environment = os.environ | looks
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-m", "it_incident_response", *COMMAND],
            cwd=folder,
            env=environment,
            capture_output=True,
            check=True,
            text=True,
        )
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
    console.print(Text(f"$ iir {' '.join(COMMAND[:-1])}", style="bold"))
    console.print(Text.from_ansi(done.stdout))
    target = Path(__file__).with_name("demo.svg")
    # No fonts from elsewhere: the picture shows in the reader's own fixed-width font.
    plain = re.sub(r"@font-face \{\{.*?\}\}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    console.save_svg(str(target), title="iir demo", code_format=plain)


if __name__ == "__main__":
    main()
