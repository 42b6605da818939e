"""How a release is made, and the record of those that were made (docs/releasing.md)."""
