"""The rim: what is switched on by name and runs in processes of its own. Imports the kernel only."""
