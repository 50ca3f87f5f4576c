"""Forward-only SQL, one file a step, applied in the order of their names by `chipmunk.migrate`."""
