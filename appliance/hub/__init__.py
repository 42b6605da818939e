"""The JupyterHub side: what the hub is configured to do, and how a researcher's server is started."""
