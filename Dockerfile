# Rowhook in an image: one static binary, no shell, not root. docs/operations.md says how to run it.
#
#   docker build --build-arg VERSION=$(git describe --tags --always) -t rowhook .

FROM golang:1.26.8-bookworm AS build
WORKDIR /src
# Modules change less often than code: this layer is made anew only when they do.
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=unknown
# The line of `make build`, which a test compares it with.
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=${VERSION}" -o /out/rowhook ./cmd/rowhook
# A new volume takes over owner and mode of the folder it is mounted on.
RUN mkdir -m 0700 /out/data

FROM gcr.io/distroless/static-debian12:nonroot
ARG VERSION=unknown
LABEL org.opencontainers.image.title="Rowhook" \
      org.opencontainers.image.description="Every committed row change in MySQL or MariaDB, delivered as signed webhooks" \
      org.opencontainers.image.source="https://github.com/rowhook/rowhook" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}"
COPY --from=build /out/rowhook /usr/local/bin/rowhook
COPY --from=build --chown=65532:65532 /out/data /var/lib/rowhook
# By number, so that a cluster can see that it is not root.
USER 65532:65532
VOLUME /var/lib/rowhook
STOPSIGNAL SIGTERM
# Does the process answer? Whether a source is followed is for /metrics to say: a restart would not cure what stopped it.
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s \
  CMD ["/usr/local/bin/rowhook", "status", "--config", "/etc/rowhook/rowhook.yaml"]
ENTRYPOINT ["/usr/local/bin/rowhook"]
CMD ["serve", "--config", "/etc/rowhook/rowhook.yaml"]
