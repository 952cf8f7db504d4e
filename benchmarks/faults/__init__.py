"""What a server does while its processes die, its disks fill, its callers misbehave: `python -m benchmarks.faults`."""
