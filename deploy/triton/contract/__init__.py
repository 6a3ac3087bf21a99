"""The tensor contract that the sovereign servers and the router share: `tensorrt_llm.pbtxt`."""
