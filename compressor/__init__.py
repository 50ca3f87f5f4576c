"""The write side: doors, ingest, jobs, sweeps."""
