"""Programs for the machine's own Python, which alone has Ceph's bindings. They are run, never imported."""
