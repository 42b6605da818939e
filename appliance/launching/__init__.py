"""How clusters start: dask-gateway's backend on the head, and the launcher on each storage host."""
