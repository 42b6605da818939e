"""The nginx configuration of the depot, as text."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from appliance.depot.layout import Depot

DEFAULT_PORT = 3142
PRIVATE_NETWORKS = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")
CA_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")


@dataclass(frozen=True)
class Settings:
    """What an operator may choose about the depot."""

    listen: str = "0.0.0.0"  # noqa: S104 - the allow list below decides who may ask
    port: int = DEFAULT_PORT
    allow: tuple[str, ...] = PRIVATE_NETWORKS
    debian: str | None = None
    security: str | None = None
    refresh: str = "12h"
    nameservers: tuple[str, ...] = field(default=())


def nameservers(resolv_conf: Path = Path("/etc/resolv.conf")) -> tuple[str, ...]:
    """The resolvers of this host, as nginx writes them (IPv6 in brackets)."""
    if not resolv_conf.is_file():
        return ()
    found = []
    for line in resolv_conf.read_text(encoding="utf-8").splitlines():
        words = line.split()
        if len(words) >= 2 and words[0] == "nameserver":
            address = words[1].split("%")[0]
            found.append(f"[{address}]" if ":" in address else address)
    return tuple(found)


_MAIN = """\
# Written by `appliance depot up`; changes made here are lost.
{user}worker_processes 2;
pid {pid};
error_log {error_log} warn;
worker_rlimit_nofile 8192;
events {{ worker_connections 2048; }}

http {{
    log_format depot escape=json '{{"time":$msec,"client":"$remote_addr","path":"$request_uri","status":$status,'
        '"sent":$bytes_sent,"cache":"$upstream_cache_status","upstream":"$upstream_bytes_received"}}';
    access_log {access_log} depot;
    types {{ text/x-nix-narinfo narinfo; application/json json; text/plain txt log; text/html html; }}
    default_type application/octet-stream;
    sendfile on;
    tcp_nopush on;
    keepalive_timeout 65s;
    keepalive_requests 10000;
    server_tokens off;
    client_max_body_size 1k;
    client_body_temp_path {run}/body;
    proxy_temp_path {run}/proxy;
    fastcgi_temp_path {run}/fastcgi;
    uwsgi_temp_path {run}/uwsgi;
    scgi_temp_path {run}/scgi;
{resolver}
    # What was fetched stays: a release that a mirror dropped can still be installed from here. Only a full disk evicts.
    proxy_cache_path {debian} levels=1:2 keys_zone=debian:32m inactive=36500d min_free=2g use_temp_path=off;

    server {{
        listen {listen}:{port};
        root {root};
{access}
        location / {{ return 404; }}
        location = /healthz {{ access_log off; default_type text/plain; return 200 "depot\\n"; }}
        location /wheels/ {{ autoindex on; }}
        location /nix/ {{ }}
{archives}    }}
}}
"""

_ARCHIVE = """\
        location ~ ^/{name}/(?<path>(?:pool/|dists/.*/by-hash/).*)$ {{
            # The name says what the content is, so a copy never grows old.
            set $archive {uri};
            proxy_pass $archive/$path;
            proxy_cache_valid 200 3650d;
{common}        }}
        location ~ ^/{name}/(?<path>.*)$ {{
            set $archive {uri};
            proxy_pass $archive/$path;
            proxy_cache_valid 200 {refresh};
            proxy_cache_valid 404 10m;
{common}        }}
"""

# One upstream request for each file, however many machines ask at once; and with the mirror away, what is here serves.
_COMMON = """\
            proxy_cache debian;
            proxy_cache_key {name}/$path;
            proxy_cache_revalidate on;
            proxy_cache_lock on;
            proxy_cache_lock_age 10m;
            proxy_cache_lock_timeout 10m;
            proxy_cache_use_stale error timeout invalid_header updating http_500 http_502 http_503 http_504 http_429;
            proxy_ignore_headers X-Accel-Expires Expires Cache-Control Set-Cookie Vary;
            proxy_http_version 1.1;
            proxy_connect_timeout 10s;
            proxy_set_header Connection "";
            add_header X-Depot-Cache $upstream_cache_status;
"""

_TLS = """\
            proxy_ssl_server_name on;
            proxy_ssl_verify on;
            proxy_ssl_verify_depth 5;
            proxy_ssl_trusted_certificate {bundle};
"""


def _archive(name: str, uri: str, refresh: str) -> str:
    common = _COMMON.format(name=name)
    if uri.startswith("https://"):
        common += _TLS.format(bundle=CA_BUNDLE)
    return _ARCHIVE.format(name=name, uri=uri, refresh=refresh, common=common)


def render(depot: Depot, settings: Settings) -> str:
    """nginx.conf for these settings."""
    archives = [("debian", settings.debian), ("debian-security", settings.security)]
    resolver = ""
    if settings.nameservers:
        resolver = f"    resolver {' '.join(settings.nameservers)} ipv6=off valid=300s;\n"
    allow = ["127.0.0.0/8", *settings.allow]
    return _MAIN.format(
        # The master opens the port as root; those that touch requests are nobody in particular.
        user="user www-data;\n" if os.geteuid() == 0 else "",
        pid=depot.pid_file,
        error_log=depot.error_log,
        access_log=depot.access_log,
        run=depot.run,
        debian=depot.debian,
        root=depot.served,
        listen=settings.listen,
        port=settings.port,
        resolver=resolver,
        access="".join(f"        allow {network};\n" for network in allow) + "        deny all;\n",
        archives="".join(_archive(name, uri, settings.refresh) for name, uri in archives if uri),
    )
