# syntax=docker/dockerfile:1
# docker build --build-arg VERSION=0.1.0 --build-arg COMMIT=$(git rev-parse --short HEAD) -t fingerpost .
# docker run -p 8080:8080 -v fingerpost:/data fingerpost

FROM rust:1.95-slim-bookworm AS build
# aws-lc (TLS), SQLite, librdkafka and zstd are C and C++; librdkafka builds with make, OpenSSL (for SASL and TLS to Kafka) with perl.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends gcc g++ libc6-dev make perl && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
ARG COMMIT=unknown
ENV FINGERPOST_COMMIT=$COMMIT
# What was compiled stays in the caches: a change of our own code does not build 350 crates again.
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,target=/src/target,sharing=locked \
    cargo build --release --locked --features kafka-ssl-vendored --bin fingerpost \
    && install -D target/release/fingerpost /out/usr/local/bin/fingerpost
# Licences of the data inside the binary go where the binary goes. Empty folders give the volumes their owner.
RUN mkdir -p /out/data /out/keys /out/usr/share/doc/fingerpost \
    && cp LICENSE config/geo/country.NOTICE config/agents/*.LICENSE /out/usr/share/doc/fingerpost/ \
    && cp config/fingerpost.toml /out/usr/share/doc/fingerpost/

FROM gcr.io/distroless/cc-debian12:nonroot
ARG VERSION=0.1.0
ARG COMMIT=unknown
LABEL org.opencontainers.image.title="Fingerpost" \
      org.opencontainers.image.description="A redirect and click-ingest edge for referral programs" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.url="https://github.com/fingerpost/fingerpost" \
      org.opencontainers.image.source="https://github.com/fingerpost/fingerpost" \
      org.opencontainers.image.documentation="https://github.com/fingerpost/fingerpost/blob/main/docs/operator.md" \
      org.opencontainers.image.base.name="gcr.io/distroless/cc-debian12:nonroot" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$COMMIT"
COPY --from=build /out/usr /usr
COPY --from=build --chown=65532:65532 /out/data /data
COPY --from=build --chown=65532:65532 /out/keys /keys
# Inside a container the listeners must be reachable from outside of it; publish only what should be. Control asks for the admin
# token, ops asks nobody.
ENV FINGERPOST__DATA=/data \
    FINGERPOST__EDGE__LISTEN=0.0.0.0:8080 \
    FINGERPOST__CONTROL__LISTEN=0.0.0.0:8081 \
    FINGERPOST__OPS__LISTEN=0.0.0.0:8082 \
    FINGERPOST__LOG__FORMAT=json
# 8080 visitors, 8443 visitors over TLS, 8081 control, 8082 health and metrics.
EXPOSE 8080 8081 8082 8443
VOLUME /data
# nonroot, by its number: Kubernetes' runAsNonRoot cannot look a name up.
USER 65532:65532
STOPSIGNAL SIGTERM
# There is no shell and no curl in here: the program asks itself.
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=3 CMD ["/usr/local/bin/fingerpost", "health"]
ENTRYPOINT ["/usr/local/bin/fingerpost"]
CMD ["serve"]
