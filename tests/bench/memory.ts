/**
 * Resident memory of an edge with eight tile workers and the settings for 512 MB: with all the tiles of videos it keeps,
 * then while 40-megapixel pictures come in as well.
 */
import { connect } from "@nats-io/transport-node";
import { MAX_KEPT_VIDEO_BYTES, silentLogger } from "@tessera/shared";
import { Ffmpeg } from "../../gpu-worker/media/ffmpeg.ts";
import { VideoService } from "../../gpu-worker/media/video_service.ts";
import { startNatsServer } from "../../infra/nats/server.ts";
import { ensureFfmpeg } from "../../infra/tools/ffmpeg.ts";
import { ROOT } from "../../infra/tools/paths.ts";
import { jpeg } from "../support/jpeg_writer.ts";
import { FAKE_MODEL, FakeWorker } from "../edge/fake_worker.ts";
import { lines } from "./report.ts";

const MIB = 1024 * 1024;
/** As edge/README.md gives them for Deno Deploy. */
const SETTINGS = { TESSERA_TILE_WORKERS: "8", TESSERA_HELD_MB: "64", TESSERA_TILE_MB: "176" };
const NUM_REQUESTS = 24;
const ABREAST = 8;
/** Of each video. */
const FRAMES = 8;

export async function benchMemory(): Promise<void> {
  const nats = await startNatsServer({});
  const announcement = { tile_size: 448, tokens_per_tile: 256, context_length: 32_768 };
  const worker = await FakeWorker.start({ natsUrl: nats.url, announcement });
  worker.serve(["ok"]);
  const edge = new Deno.Command(Deno.execPath(), {
    args: ["run", "--allow-net", "--allow-env", "--allow-read", `${ROOT}/edge/main.ts`],
    env: { ...SETTINGS, TESSERA_NATS_URL: nats.url, TESSERA_PORT: "0" },
    stdout: "piped",
  }).spawn();
  const output = lines(edge.stdout);
  let url = "";
  while (url === "") url = JSON.parse((await output.next()).value ?? "{}").url ?? "";
  void Array.fromAsync(output);
  while (!(await fetch(`${url}/readyz`)).ok) await new Promise((resolve) => setTimeout(resolve, 100));

  let most = 0;
  const watch = setInterval(() => most = Math.max(most, resident(edge.pid)), 5);
  const idle = resident(edge.pid);
  const numVideos = await askAboutVideos(nats.url, url);
  const withVideos = resident(edge.pid);
  const outcomes: Record<string, number> = {};
  const bodies = [[4032, 3024], [7744, 5168], [1920, 1080], [7744, 5168]].map(([width, height]) => {
    const picture = `data:image/jpeg;base64,${jpeg(width!, height!, { detail: 3 }).toBase64()}`;
    const content = [{ type: "image_url", image_url: { url: picture } }];
    return JSON.stringify({ model: FAKE_MODEL, messages: [{ role: "user", content }] });
  });
  let next = 0;
  const lane = async () => {
    while (next < NUM_REQUESTS) {
      const body = bodies[next++ % bodies.length]!;
      const headers = { "content-type": "application/json" };
      const response = await fetch(`${url}/v1/chat/completions`, { method: "POST", headers, body });
      await response.text();
      outcomes[response.status] = (outcomes[response.status] ?? 0) + 1;
      if (response.status === 429) await new Promise((resolve) => setTimeout(resolve, 200));
    }
  };
  await Promise.all(Array.from({ length: ABREAST }, lane));
  clearInterval(watch);
  const settings = Object.entries(SETTINGS).map(([name, value]) => `${name}=${value}`).join(" ");
  console.log(`${settings}: ${NUM_REQUESTS} requests, ${ABREAST} at once, half of them of 40 megapixels`);
  console.log(`answers by status: ${JSON.stringify(outcomes)}`);
  const kept = numVideos === 0 ? "" : `${mib(withVideos)} MiB after ${numVideos} videos, `;
  console.log(`resident: ${mib(idle)} MiB idle, ${kept}${mib(most)} MiB at most`);
  edge.kill();
  await edge.status;
  await worker.stop();
  await nats.stop();
}

/** Asks until the edge keeps as many tiles of videos as it may; returns how many were asked for, 0 without FFmpeg. */
async function askAboutVideos(natsUrl: string, url: string): Promise<number> {
  const ffmpeg = await Ffmpeg.open(await ensureFfmpeg());
  if (ffmpeg === null) return 0;
  const nc = await connect({ servers: natsUrl });
  const service = new VideoService(nc, ffmpeg, silentLogger);
  await nc.flush();
  const file = await Deno.readFile(`${ROOT}/tests/golden/video/videos/h264.mp4`);
  const video = `data:video/mp4;base64,${file.toBase64()}`;
  const numVideos = Math.ceil(1.5 * MAX_KEPT_VIDEO_BYTES / (FRAMES * 448 * 448 * 3));
  for (let i = 0; i < numVideos; i++) {
    // Another beginning makes another video of it.
    const content = [{ type: "video_url", video_url: { url: video, num_segments: FRAMES, start: i / 100 } }];
    const body = JSON.stringify({ model: FAKE_MODEL, messages: [{ role: "user", content }] });
    const headers = { "content-type": "application/json" };
    const response = await fetch(`${url}/v1/chat/completions`, { method: "POST", headers, body });
    if (!response.ok) throw new Error(`Cannot ask about a video: ${await response.text()}`);
    await response.body?.cancel();
  }
  await service.stop();
  await nc.close();
  return numVideos;
}

/** Linux only, in bytes. */
function resident(pid: number): number {
  return Number(/VmRSS:\s+(\d+)/.exec(Deno.readTextFileSync(`/proc/${pid}/status`))?.[1] ?? 0) * 1024;
}

function mib(bytes: number): string {
  return (bytes / MIB).toFixed(0);
}
