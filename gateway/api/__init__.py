"""The read side's API: users, sessions, links, flows, lists, jobs, health."""
