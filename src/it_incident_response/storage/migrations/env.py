"""What Alembic runs: the revisions, on the connection and in the transaction it is handed."""

from alembic import context

from it_incident_response.storage.schema import VERSION_TABLE
from it_incident_response.storage.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    transactional_ddl=True,
    render_as_batch=True,
)
context.run_migrations()
