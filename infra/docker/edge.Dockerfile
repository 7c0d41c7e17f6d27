# The edge, and by another command the deliverer of webhooks: HTTP and NATS, no model. Built from the repository's root:
#   docker build -f infra/docker/edge.Dockerfile -t tessera-edge .
#   docker run tessera-edge edge/webhooks/main.ts        # the deliverer
ARG DENO_VERSION=2.9.6
ARG DEBIAN_VERSION=13.2-slim

FROM denoland/deno:bin-${DENO_VERSION} AS deno

FROM debian:${DEBIAN_VERSION} AS packages
COPY --from=deno /deno /usr/local/bin/deno
ENV DENO_DIR=/deno-dir DENO_NO_UPDATE_CHECK=1
# Certificates of the package registry's authority come with deno.
ENV DENO_TLS_CA_STORE=mozilla
WORKDIR /app
COPY deno.json deno.lock ./
COPY gpu-worker/deno.json gpu-worker/
COPY native/deno.json native/
COPY infra/deno.json infra/
COPY tests/deno.json tests/
COPY shared shared
COPY edge edge
# Nothing but what these import (deno install would fetch every package of the repository); the lock decides the versions.
RUN deno cache --unstable-npm-lazy-caching --node-modules-dir=none --frozen \
  edge/main.ts edge/tile/worker.ts edge/webhooks/main.ts \
  && find . -name '*_test.ts' -delete

FROM debian:${DEBIAN_VERSION}
COPY --from=deno /deno /usr/local/bin/deno
COPY --from=packages /deno-dir /deno-dir
COPY --from=packages /app /app
RUN useradd --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin tessera
WORKDIR /app
# glibc else keeps freed tiles for later instead of giving them back to the system.
ENV DENO_DIR=/deno-dir DENO_NO_UPDATE_CHECK=1 DENO_TLS_CA_STORE=mozilla NODE_ENV=production \
  MALLOC_MMAP_THRESHOLD_=131072 TESSERA_HOST=0.0.0.0 TESSERA_PORT=8000 TESSERA_AUTH=keys
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
# Of the edge; the deliverer has no port, and who runs it switches this off.
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 \
  CMD ["deno", "eval", "--no-config", "const r = await fetch(`http://127.0.0.1:${Deno.env.get('TESSERA_PORT') || 8000}/healthz`); Deno.exit(r.ok ? 0 : 1)"]
ENTRYPOINT ["deno", "run", "--unstable-npm-lazy-caching", "--node-modules-dir=none", "--cached-only", "--frozen", "--no-check", "--no-prompt", \
  "--allow-net", "--allow-env", "--allow-read", "--allow-sys"]
CMD ["edge/main.ts"]
