"""Explains what the sidecar would make of one captured call.

``trial`` is the way through: ``captured`` brings what people captured into the form it had on the wire, ``grpc_wire``
writes a gRPC call as HTTP/2, ``witness`` shows the bytes to the production observer and notes what it says,
``verdicts`` tells it rule by rule. Nothing here matches or extracts by itself: an explanation that could disagree with
the relay would be worse than none.
"""
