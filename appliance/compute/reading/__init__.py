"""How a worker reads S3 through its own host, and the count of what it read."""
