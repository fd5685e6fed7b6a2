"""What endpoints need and services may not see: problems, paging, ETags, idempotency, access."""
