"""Commands that the server side adds to `aircheck` (entry-point group `aircheck.commands`); they import late."""
