"""The emulated rack: several machines with addresses, disks and systemd of their own, on one Linux host."""
