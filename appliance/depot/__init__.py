"""The depot: what machines without a way out to the internet install from.

The control host serves its own Debian mirror through a cache, the wheels of the environments' lock files and a signed
Nix binary cache, all by plain HTTP: Debian signs its indexes, the lock files hold the wheels' hashes, and the depot
signs what Nix built. So nothing rests on the transport.
"""
