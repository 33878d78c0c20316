# Two images of one tree: docker build --target control-plane -t leasehold/control-plane:0.1.0 .
#                         docker build --target sidecar       -t leasehold/sidecar:0.1.0 .
# What is installed is what constraints.txt says. For a build that is the same again next year give the base a digest:
# --build-arg BASE=python@sha256:...
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS tools
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore PYTHONDONTWRITEBYTECODE=1
WORKDIR /src
COPY constraints.txt pyproject.toml README.md LICENSE ./
COPY proto/leasehold proto/leasehold
COPY sidecar/leasehold sidecar/leasehold
COPY control-plane/leasehold control-plane/leasehold
RUN python3 -m pip wheel --no-deps --wheel-dir /wheels .

FROM tools AS sidecar-installed
RUN python3 -m venv --without-pip /opt/leasehold \
 && python3 -m pip --python /opt/leasehold/bin/python3 install --constraint /src/constraints.txt "$(echo /wheels/*.whl)[otel]"

FROM tools AS control-plane-installed
# With what is needed to sign calls to owners that want AWS signatures, to tell Kafka of events, and to export traces.
RUN python3 -m venv --without-pip /opt/leasehold \
 && python3 -m pip --python /opt/leasehold/bin/python3 install --constraint /src/constraints.txt "$(echo /wheels/*.whl)[aws,kafka,otel]"

# Nothing in it builds or installs anything.
FROM ${BASE} AS runtime
RUN python3 -m pip uninstall --yes --root-user-action=ignore setuptools wheel pip
ENV PATH=/opt/leasehold/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1

FROM runtime AS sidecar
LABEL org.opencontainers.image.title="leasehold/sidecar" \
      org.opencontainers.image.description="Reads along on a service's outgoing calls and records what it holds." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="0.1.0"
# nft, for the init container that redirects the owners' traffic; the sidecar itself never uses it.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends nftables \
 && rm -rf /var/lib/apt/lists/*
COPY --from=sidecar-installed /opt/leasehold /opt/leasehold
USER 15015:15015
EXPOSE 15401 15402 15420 15421
ENTRYPOINT ["leasehold-sidecar"]

FROM runtime AS control-plane
LABEL org.opencontainers.image.title="leasehold/control-plane" \
      org.opencontainers.image.description="Finds what nobody holds any more and deletes it through its owner, safely." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="0.1.0"
COPY --from=control-plane-installed /opt/leasehold /opt/leasehold
USER 65532:65532
EXPOSE 8443 8700
ENTRYPOINT ["leasehold-control-plane"]
