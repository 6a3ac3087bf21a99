"""Takes spans by OTLP over HTTP, from programs that speak nothing else, into the table of all the others."""
