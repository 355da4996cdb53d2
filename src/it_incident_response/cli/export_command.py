"""`iir incidents export`: an incident as a folder that can be shared and investigated offline."""

from pathlib import Path

import click

from it_incident_response.cli.output import clean, json_option, print_json
from it_incident_response.cli.runtime import open_runtime, run_async


@click.command()
@click.argument("incident")
@click.option("--out", type=click.Path(path_type=Path), help="Default: ./INCIDENT-bundle.")
@json_option
@click.pass_context
@run_async
async def export(ctx: click.Context, incident: str, out: Path | None, as_json: bool) -> None:
    """Write what is known of INCIDENT to a folder, redacted, for `iir investigate`.

    Nothing that exists is overwritten.
    """
    from it_incident_response.system.bundle_export import export_bundle

    async with open_runtime(ctx) as runtime:
        folder, files = await export_bundle(runtime, incident, out)
    if as_json:
        print_json({"folder": str(folder), "files": files})
        return
    click.echo(f"{clean(folder)}: {files} files, redacted; read them before you share them")
