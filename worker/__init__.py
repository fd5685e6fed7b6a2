"""The queue door: Celery tasks that take steps for rows, the tick that finds due rows, reactions to events."""
