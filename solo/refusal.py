"""What ends a start for a reason that the person at the terminal can do something about."""


class Refusal(Exception):
    """Carries one sentence; the process prints it and ends with status 1."""
