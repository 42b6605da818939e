"""Name to placement group to hosts: pure calculation over the cluster's map."""
