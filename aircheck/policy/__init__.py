"""What counts as unsafe (`taxonomy`), how a surface treats it (`packs`), and the verdict that follows (`decide`)."""
