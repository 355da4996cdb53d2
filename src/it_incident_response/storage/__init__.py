"""Our own record in SQL: tables, repositories, migrations, the audit chain. Knows no stage."""
