# tidegate in a container: the program, the C library, authorities, an account. No shell.
#
#   docker build -t tidegate .
#   docker run -p 8080:8080 -v ./tidegate.toml:/etc/tidegate/tidegate.toml:ro --stop-timeout 45 tidegate
#
# It needs no capability and no writable root: --read-only --cap-drop ALL
# --security-opt no-new-privileges --tmpfs /run/tidegate:uid=65532,gid=65532,mode=0750
# A whole set-up: config/examples/docker.

# Pin it: --build-arg RUST_IMAGE=docker.io/library/rust@sha256:…
ARG RUST_IMAGE=docker.io/library/rust:1.95.0-slim-bookworm

# Left out where somebody has built the program: --build-context build=FOLDER (see .ci/image).
FROM ${RUST_IMAGE} AS build
# The time of the commit, for compilers that ask; .git is not in here.
ARG SOURCE_DATE_EPOCH=0
WORKDIR /src
COPY . .
RUN .ci/release && .ci/rootfs target/dist/tidegate /rootfs && mkdir /empty

FROM scratch
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="tidegate" \
      org.opencontainers.image.description="A traffic-splitting reverse proxy for MCP servers" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# So that `docker exec NAME tidegate status` finds everything.
ENV PATH=/usr/bin \
    TIDEGATE_CONFIG=/etc/tidegate/tidegate.toml \
    TIDEGATE_SOCKET=/run/tidegate/admin.sock \
    STATE_DIRECTORY=/var/lib/tidegate
COPY --from=build /rootfs /
COPY --from=build --chown=65532:65532 /empty /run/tidegate
COPY --from=build --chown=65532:65532 /empty /var/lib/tidegate
# Listens on all addresses of the container, in front of http://primary:3000/mcp and
# http://secondary:3000/mcp.
COPY config/examples/docker/etc/tidegate.toml /etc/tidegate/tidegate.toml
USER 65532:65532
VOLUME ["/var/lib/tidegate"]
EXPOSE 8080 9464
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["/usr/bin/tidegate", "status", "--ready"]
# Calls in flight get `timeouts.drain`, 30 s: give it more than Docker's 10 s to stop.
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/bin/tidegate"]
CMD ["run"]
