"""Every span attribute name that Homeward writes, in one place.

The GenAI names (OpenTelemetry semantic conventions 0.66b2) are still in development upstream and being
renamed; when they are, this file changes and nothing else.
"""

from __future__ import annotations

GEN_AI_OPERATION_NAME = "gen_ai.operation.name"
GEN_AI_PROVIDER_NAME = "gen_ai.provider.name"
GEN_AI_REQUEST_MODEL = "gen_ai.request.model"
GEN_AI_RESPONSE_MODEL = "gen_ai.response.model"
GEN_AI_RESPONSE_FINISH_REASONS = "gen_ai.response.finish_reasons"
GEN_AI_USAGE_INPUT_TOKENS = "gen_ai.usage.input_tokens"
GEN_AI_USAGE_CACHED_INPUT_TOKENS = "gen_ai.usage.cache_read.input_tokens"
GEN_AI_USAGE_OUTPUT_TOKENS = "gen_ai.usage.output_tokens"

HTTP_REQUEST_METHOD = "http.request.method"
HTTP_ROUTE = "http.route"
HTTP_STATUS_CODE = "http.response.status_code"
RPC_SYSTEM = "rpc.system"
RPC_SERVICE = "rpc.service"
RPC_METHOD = "rpc.method"
RPC_STATUS_CODE = "rpc.grpc.status_code"
ERROR_TYPE = "error.type"

WORKLOAD = "homeward.workload"
EVIDENCE = "homeward.evidence"
CONFIDENCE = "homeward.confidence"
KEY_NAME = "homeward.key"
PURPOSE = "homeward.purpose"
TARGET = "homeward.target"
UPSTREAM = "homeward.upstream"
OUTCOME = "homeward.outcome"
ATTEMPTS = "homeward.attempts"
POLICY_VERSION = "homeward.policy_version"
POLICY_AGE_S = "homeward.policy_age_s"
LEG_ID = "homeward.leg_id"
TTFT_US = "homeward.ttft_us"
QUEUED_US = "homeward.queued_us"
