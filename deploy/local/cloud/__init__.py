"""The stand-in cloud: an OpenAI-compatible server for machines that have no key to a cloud.

A request that asks for one of several named options is answered by a small trained model, whose accuracy is
measured (`model/README.md`). All else is extracted from the texts of the request. It does not reason, and it
says what it is: the header `server: homeward-stand-in-cloud`, the
`system_fingerprint` `stand-in`, and models owned by `homeward-stand-in`.
"""
