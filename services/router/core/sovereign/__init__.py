"""What lies between a chat request and a server that takes a prompt and gives text."""
