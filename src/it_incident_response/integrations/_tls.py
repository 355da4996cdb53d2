"""The TLS context of one outside system, from its settings."""

import ssl
import stat

from it_incident_response.errors import ConfigError
from it_incident_response.integrations.connector import ConnectorSettings


def tls_context(connector: str, settings: ConnectorSettings) -> ssl.SSLContext:
    """Return the context that the settings describe; raises `ConfigError` naming the bad file."""
    context = _trusting(connector, settings)
    if settings.insecure_skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if settings.cert_file and settings.key_file:
        _refuse_open_key(connector, settings)
        try:
            context.load_cert_chain(settings.cert_file, settings.key_file)
        except OSError as error:  # ssl.SSLError is one too
            raise _unusable(
                connector, f"{settings.cert_file} and {settings.key_file}", error
            ) from (error)
    return context


def _trusting(connector: str, settings: ConnectorSettings) -> ssl.SSLContext:
    if settings.ca_file is None:
        import certifi

        return ssl.create_default_context(cafile=certifi.where())
    try:
        return ssl.create_default_context(cafile=settings.ca_file)
    except OSError as error:
        raise _unusable(connector, f"ca_file {settings.ca_file}", error) from error


def _refuse_open_key(connector: str, settings: ConnectorSettings) -> None:
    key_file = settings.key_file
    if key_file and key_file.exists() and key_file.stat().st_mode & stat.S_IROTH:
        raise ConfigError(
            f"{connector}: the private key {key_file} can be read by everyone on this machine",
            hint=f"run: chmod 600 {key_file}",
        )


def _unusable(connector: str, what: str, error: OSError) -> ConfigError:
    reason = error.strerror or str(error) or type(error).__name__
    return ConfigError(
        f"{connector}: cannot use {what}: {reason}",
        hint="it must be a readable PEM file; certificate and key must belong together",
    )
