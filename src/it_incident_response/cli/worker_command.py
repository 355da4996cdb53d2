"""`iir worker`: handles incidents without receiving alerts, for a fleet of workers."""

import click

from it_incident_response.cli.runtime import load_config, run_async
from it_incident_response.errors import ConfigError


@click.command()
@click.option("--site", "sites", multiple=True, help="Serve hosts of this site too; repeatable.")
@click.option("--only-sites", is_flag=True, help="Serve nothing but the hosts of the sites.")
@click.pass_context
@run_async
async def worker(ctx: click.Context, sites: tuple[str, ...], only_sites: bool) -> None:
    """Handle incidents until stopped, receiving none itself.

    Needs the database of `iir serve`, and a Temporal cluster (`temporal.address`) for more than
    one of them to share the work.
    """
    from it_incident_response.cli.work import log_to_stderr, mode, work_until_stopped
    from it_incident_response.system import make_world, open_configured

    log_to_stderr(debug=bool(getattr(ctx.obj, "debug", False)))
    settings = load_config(ctx).settings
    if sites:
        section = settings.worker.model_copy(
            update={"sites": tuple(dict.fromkeys([*settings.worker.sites, *sites]))}
        )
        settings = settings.model_copy(update={"worker": section})
    _require_known_sites(settings.worker.sites, {host.site for host in settings.inventory.hosts})
    if only_sites and not settings.worker.sites:
        raise ConfigError("no site is given", hint="--site NAME, or worker.sites")
    async with open_configured(settings, make_world(settings)) as runtime:
        click.echo(f"acting: {mode(settings)}; stop with Ctrl-C")
        await work_until_stopped(runtime, only_sites=only_sites)
    click.echo("stopped; what was under way is on record")


def _require_known_sites(sites: tuple[str, ...], known: set[str | None]) -> None:
    for site in sites:
        if site not in known:
            listed = ", ".join(sorted(name for name in known if name)) or "none"
            raise ConfigError(
                f"no host of the inventory is at site {site!r}", hint=f"known: {listed}"
            )
