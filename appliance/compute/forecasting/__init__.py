"""What an analysis will need, told before it runs: bytes, local share, seconds, memory."""
