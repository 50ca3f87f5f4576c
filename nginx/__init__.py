"""nginx: one template of its configuration, rendered for every way of starting."""
