"""Every call of the API, as data: what it takes, what it answers, who may make it. The OpenAPI document follows from it."""
