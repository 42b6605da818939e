"""Who asks the placement service: S3 keys, signatures, tokens."""
