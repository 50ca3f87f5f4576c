"""One command, everything: starts, watches and stops the whole system on one machine."""
