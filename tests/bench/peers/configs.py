"""One configuration per peer: one thread each, keep-alive on both sides without a limit, no access log. Pure text.

All of them do the least a reverse proxy can do, so that the comparison is with what they are best at.
"""

from __future__ import annotations

import json

NGINX_BACKEND = """
worker_processes 1; daemon off; pid {folder}/backend.pid; error_log stderr crit;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 100000000; keepalive_timeout 600s; client_max_body_size 0;
  client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
  uwsgi_temp_path {folder}; scgi_temp_path {folder}; sendfile on;
  server {{
    listen {host}:{port} backlog=4096; listen {host}:{other_port} backlog=4096; root {folder};
    listen {host}:{h2_port} http2 backlog=4096;
    location = /small {{ default_type text/plain; return 200 "0123456789abcdef0123456789abcdef\\n"; }}
    location = /v1/blobs {{ default_type application/json; return 201 '{{"id":"$request_id"}}'; }}
  }}
}}
"""

NGINX_PROXY = """
worker_processes 1; daemon off; pid {folder}/proxy.pid; error_log stderr crit;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 100000000; keepalive_timeout 600s; proxy_request_buffering off;
  proxy_max_temp_file_size 0;
  client_max_body_size 0;
  client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
  uwsgi_temp_path {folder}; scgi_temp_path {folder};
  upstream backend {{ server {to}; keepalive 512; keepalive_requests 100000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{ proxy_pass http://backend; proxy_http_version 1.1; proxy_set_header Connection ""; }}
  }}
}}
"""

HAPROXY = """
global
  nbthread 1
  maxconn 8192
defaults
  mode {mode}
  timeout connect 5s
  timeout client 600s
  timeout server 600s
  {option}
frontend front
  bind 127.0.0.1:{port}{proto}
  default_backend back
backend back
  server one {to}{proto}
"""

CADDY = """
{{
  admin off
  auto_https off
  servers {{
    protocols {protocols}
  }}
}}
http://127.0.0.1:{port} {{
  reverse_proxy {scheme}://{to}
}}
"""

TRAEFIK_STATIC = """
entryPoints: {{web: {{address: "127.0.0.1:{port}"}}}}
providers: {{file: {{filename: "{folder}/dynamic.yaml"}}}}
log: {{level: ERROR}}
global: {{checkNewVersion: false, sendAnonymousUsage: false}}
"""

TRAEFIK_DYNAMIC = """
http:
  routers: {{all: {{rule: "PathPrefix(`/`)", service: backend}}}}
  services: {{backend: {{loadBalancer: {{servers: [{{url: "{scheme}://{to}"}}]}}}}}}
"""

RULES = """
owners:
  - name: blob-store
    hosts: ["{owner}"]
    endpoint: "http://{owner}"
    delete: {{path: "/v1/blobs/{{id}}", precondition: never-reused}}
rules:
  - name: create-blob
    owner: blob-store
    type: blob
    on: create
    match: {{method: POST, path: "/v1/blobs", status: [201]}}
    id: {{json: id}}
    held_by: process
    commit: {commit}
"""

SIDECAR = """
service: bench
instance: {instance}
etcd: {{endpoints: ["{endpoint}"]}}
lease: {{ttl: {ttl}}}
host: {{pid: {pid}}}
capture: [{way}]
rules: {{file: {folder}/rules.yaml}}
journal: {folder}/journal
admin: {{listen: "127.0.0.1:0"}}
"""


def envoy(port: int, to: str, *, kind: str) -> str:
    """``kind``: ``http`` (HTTP/1.1 on both sides), ``http2`` (h2c on both sides) or ``tcp``."""
    cluster: dict[str, object] = {
        "name": "backend",
        "type": "STATIC",
        "load_assignment": {
            "cluster_name": "backend",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(to)}}]}],
        },
    }
    if kind == "http2":
        cluster["typed_extension_protocol_options"] = {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {"http2_protocol_options": {}},
            }
        }
    listener = {
        "name": "front",
        "address": _address(f"127.0.0.1:{port}"),
        "filter_chains": [{"filters": [_tcp_filter() if kind == "tcp" else _http_filter()]}],
    }
    return json.dumps({"static_resources": {"listeners": [listener], "clusters": [cluster]}})


def _address(at: str) -> dict[str, object]:
    host, _, port = at.rpartition(":")
    return {"socket_address": {"address": host, "port_value": int(port)}}


def _tcp_filter() -> dict[str, object]:
    return {
        "name": "envoy.filters.network.tcp_proxy",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
            "stat_prefix": "tcp",
            "cluster": "backend",
        },
    }


def _http_filter() -> dict[str, object]:
    router = {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}
    route = {"match": {"prefix": "/"}, "route": {"cluster": "backend", "timeout": "0s"}}
    return {
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3."
            "HttpConnectionManager",
            "stat_prefix": "http",
            "codec_type": "AUTO",
            "http_filters": [{"name": "envoy.filters.http.router", "typed_config": router}],
            "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        },
    }
