"""The formats, a file each: generators of rows and bad rows."""
