# A worker on NVIDIA GPUs. Kernels are compiled for every architecture that the engine knows; the driver is the host's.
#   docker build -f infra/docker/worker-cuda.Dockerfile -t tessera-worker-cuda .
#   docker run --gpus all -v ./pretrained:/models:ro -e TESSERA_MODEL=/models/InternVL3-8B tessera-worker-cuda
ARG DENO_VERSION=2.9.6
ARG CUDA_VERSION=13.0.1

FROM denoland/deno:bin-${DENO_VERSION} AS deno

FROM nvidia/cuda:${CUDA_VERSION}-devel-ubuntu24.04 AS build
COPY --from=deno /deno /usr/local/bin/deno
ENV DENO_DIR=/deno-dir DENO_NO_UPDATE_CHECK=1 DENO_TLS_CA_STORE=mozilla
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
# Naming the toolkit makes a failure of its compiler a failure here, not an engine without CUDA.
RUN deno eval "import { buildAddon, chooseToolkit } from '@tessera/native'; await chooseToolkit('/usr/local/cuda'); console.log(await buildAddon({ progress: console.log }))" \
  && find native -type f -not -name '*.ts' -not -name deno.json -not -name tessera.node -delete
# What the worker itself imports, and no more: the build's packages stay here.
RUN rm -rf node_modules "$DENO_DIR" \
  && deno cache --unstable-npm-lazy-caching --node-modules-dir=none --frozen gpu-worker/main.ts

# With cuBLASLt, which the engine opens at run time.
FROM nvidia/cuda:${CUDA_VERSION}-runtime-ubuntu24.04
COPY --from=deno /deno /usr/local/bin/deno
# FFmpeg decodes videos, in processes of its own. Of Ubuntu 24.04 itself; the base's version decides the patch level.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends ffmpeg && rm -rf /var/lib/apt/lists/* \
  && useradd --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin tessera \
  && install -d -o 10001 -g 10001 /data
COPY --from=build /deno-dir /deno-dir
COPY --from=build /app /app
WORKDIR /app
ENV DENO_DIR=/deno-dir DENO_NO_UPDATE_CHECK=1 NODE_ENV=production \
  NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility \
  TESSERA_DEVICE=cuda TESSERA_DATA_DIR=/data TESSERA_METRICS=0.0.0.0:9464
USER 10001:10001
VOLUME /data
EXPOSE 9464
STOPSIGNAL SIGTERM
# Weights of a large model take minutes to come in.
HEALTHCHECK --interval=10s --timeout=5s --start-period=10m --retries=3 \
  CMD ["deno", "eval", "--no-config", "const r = await fetch('http://127.0.0.1:9464/healthz'); Deno.exit(r.ok ? 0 : 1)"]
ENTRYPOINT ["deno", "run", "--unstable-npm-lazy-caching", "--node-modules-dir=none", "--cached-only", "--frozen", "--no-check", "--no-prompt", "--allow-all"]
CMD ["gpu-worker/main.ts"]
