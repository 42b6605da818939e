"""Clusters that nobody has at hand: the real placement and the real queue on made maps, without a socket."""
