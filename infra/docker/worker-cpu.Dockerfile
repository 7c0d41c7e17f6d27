# A worker on the CPU, with the engine's kernels of every instruction set: it takes the best that the machine has.
#   docker build -f infra/docker/worker-cpu.Dockerfile -t tessera-worker-cpu .
#   docker run -v ./pretrained:/models:ro -e TESSERA_MODEL=/models/InternVL3-1B tessera-worker-cpu
ARG DENO_VERSION=2.9.6
ARG DEBIAN_VERSION=13.2-slim

FROM denoland/deno:bin-${DENO_VERSION} AS deno

FROM debian:${DEBIAN_VERSION} AS build
COPY --from=deno /deno /usr/local/bin/deno
ENV DENO_DIR=/deno-dir DENO_NO_UPDATE_CHECK=1 DENO_TLS_CA_STORE=mozilla
# Of Debian 13 itself; which patch level that is, the base's version decides.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends g++ && rm -rf /var/lib/apt/lists/*
WORKDIR /app
COPY deno.json deno.lock ./
COPY edge/deno.json edge/
COPY edge/playground/deno.json edge/playground/
COPY infra/deno.json infra/
COPY tests/deno.json tests/
COPY shared shared
COPY native native
COPY gpu-worker gpu-worker
RUN deno install --frozen --entrypoint gpu-worker/main.ts native/build.ts
RUN deno eval "import { buildAddon } from '@tessera/native'; console.log(await buildAddon({ progress: console.log }))" \
  && find native -type f -not -name '*.ts' -not -name deno.json -not -name tessera.node -delete
# What the worker itself imports, and no more: the build's packages stay here.
RUN rm -rf node_modules "$DENO_DIR" \
  && deno cache --unstable-npm-lazy-caching --node-modules-dir=none --frozen gpu-worker/main.ts

FROM debian:${DEBIAN_VERSION}
COPY --from=deno /deno /usr/local/bin/deno
# FFmpeg decodes videos, in processes of its own.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends ffmpeg && rm -rf /var/lib/apt/lists/* \
  && useradd --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin tessera \
  && install -d -o 10001 -g 10001 /data
COPY --from=build /deno-dir /deno-dir
COPY --from=build /app /app
WORKDIR /app
ENV DENO_DIR=/deno-dir DENO_NO_UPDATE_CHECK=1 NODE_ENV=production \
  TESSERA_DEVICE=cpu TESSERA_DATA_DIR=/data TESSERA_METRICS=0.0.0.0:9464
USER 10001:10001
VOLUME /data
EXPOSE 9464
STOPSIGNAL SIGTERM
# Weights of a large model take minutes to come in.
HEALTHCHECK --interval=10s --timeout=5s --start-period=10m --retries=3 \
  CMD ["deno", "eval", "--no-config", "const r = await fetch('http://127.0.0.1:9464/healthz'); Deno.exit(r.ok ? 0 : 1)"]
ENTRYPOINT ["deno", "run", "--unstable-npm-lazy-caching", "--node-modules-dir=none", "--cached-only", "--frozen", "--no-check", "--no-prompt", "--allow-all"]
CMD ["gpu-worker/main.ts"]
