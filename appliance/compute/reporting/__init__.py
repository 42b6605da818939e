"""What is shown of reads: report, picture of chunks, page in the dashboard, metrics."""
