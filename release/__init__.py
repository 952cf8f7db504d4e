"""What a release needs beside the wheels: NOTICE and its check."""
