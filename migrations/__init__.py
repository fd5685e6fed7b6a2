"""The schema's history, for Alembic. Every step locks briefly and can be undone."""
