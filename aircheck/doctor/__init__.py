"""What `aircheck doctor` looks at: whether a server can run here as it is configured, and what to do where not."""
