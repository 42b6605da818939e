"""Use a facility as a researcher does, and report what worked.

Two programs on the head: `facility` runs as root with the standard library only, logs the researcher in and starts
`researcher` as a unit of that user in the notebooks' environment. Neither leaves anything behind.
"""
