"""What the roles say of themselves: the check of their specs, and the README that is made of these."""
