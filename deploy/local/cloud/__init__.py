"""The stand-in cloud: an OpenAI-compatible server for machines that have no key to a cloud.

It extracts, it does not reason, and it says so: the header `server: homeward-stand-in-cloud`, the
`system_fingerprint` `stand-in`, and models owned by `homeward-stand-in`.
"""
