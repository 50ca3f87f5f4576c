"""Every call of the project, as data: what it takes and answers, who may make it, how it fails. OpenAPI follows from it."""
