"""Plug-ins: those that are switched on, their processes, and the fences around these."""
