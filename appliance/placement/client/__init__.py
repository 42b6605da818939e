"""What asks the placement service and S3, and what is made of the answers."""
