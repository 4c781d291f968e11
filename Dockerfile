# The orchestrator's image: one static binary, a CA bundle, nobody's account.
#
#   docker build -t kubectl-ado .
#   docker buildx build --platform linux/amd64,linux/arm64 .
#
# Each platform is built by a compiler of its own (natively or emulated): on Alpine the Rust target is musl by itself, and
# ring compiles its C and assembly with the compiler beside it, so nothing is cross-compiled.
FROM rust:1.95-alpine AS build
RUN apk add --no-cache build-base
WORKDIR /source
COPY . .
RUN cargo build --locked --profile dist --bin kubectl-ado \
    && install -D target/dist/kubectl-ado /out/kubectl-ado

FROM gcr.io/distroless/static-debian12:nonroot
LABEL org.opencontainers.image.title="kubectl-ado" \
      org.opencontainers.image.description="Azure Pipelines agents on Kubernetes, one for each queued pipeline job" \
      org.opencontainers.image.source="https://github.com/kubectl-ado/kubectl-ado" \
      org.opencontainers.image.licenses="MIT"
COPY --from=build /out/kubectl-ado /usr/local/bin/kubectl-ado
# A relative JOB_DEFINITION_FILE is looked for here.
WORKDIR /app
# nonroot's number, so that Kubernetes can see that runAsNonRoot is met.
USER 65532:65532
# /healthz, /readyz and /metrics, where LISTEN_ADDRESS is not set to something else.
EXPOSE 8080
ENTRYPOINT ["/usr/local/bin/kubectl-ado", "serve"]
