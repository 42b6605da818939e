"""Which worker gets which task: what a task reads, where that lies, and who runs it when."""
