/** Boots a deliverer of webhooks from the environment; SIGINT or SIGTERM lets running attempts end. */
import {
  busId,
  createLogger,
  EnvError,
  NATS_ACCESS_VARIABLES,
  parseServers,
  readEnv,
  readNatsAccess,
  unknownVariables,
  WEBHOOK_TIMEOUT_MS,
} from "@tessera/shared";
import { Bus } from "../dispatch/bus.ts";
import { OUTBOUND_VARIABLES, outboundSettings, readOutboundConfig } from "../outbound/settings.ts";
import { startDeliveryService } from "./delivery_service.ts";
import { PUBLISHED_SCHEDULE } from "./schedule.ts";
import { parseSecrets } from "./signature.ts";

function boot(): void {
  const getEnv = (name: string) => Deno.env.get(name);
  const env = readEnv([
    "TESSERA_NATS_URL",
    "TESSERA_ALLOW_PRIVATE_URLS",
    "TESSERA_WEBHOOK_SECRETS",
    "TESSERA_WEBHOOK_SCHEDULE",
    "TESSERA_LOG_LEVEL",
    "TESSERA_LOG_FORMAT",
    "TESSERA_SUPERVISED",
  ], getEnv);
  const log = createLogger({
    level: env.TESSERA_LOG_LEVEL,
    format: env.TESSERA_LOG_FORMAT,
    sink: (line) => console.log(line),
  });
  for (const unknown of unknownVariables(Object.keys(Deno.env.toObject()))) {
    log.warn("unknown_variable", { ...unknown });
  }
  const checked = <T>(name: string, read: () => T): T => {
    try {
      return read();
    } catch (error) {
      throw new EnvError(`Cannot read the environment:\n  ${name}: ${error instanceof Error ? error.message : error}`);
    }
  };
  checked("TESSERA_NATS_URL", () => parseServers(env.TESSERA_NATS_URL));
  const secrets = checked("TESSERA_WEBHOOK_SECRETS", () => parseSecrets(env.TESSERA_WEBHOOK_SECRETS));
  if (secrets.length === 0) throw new EnvError("Cannot deliver webhooks: TESSERA_WEBHOOK_SECRETS is empty.");
  const access = checked("NATS", () => readNatsAccess(readEnv(NATS_ACCESS_VARIABLES, getEnv), Deno.readTextFileSync));
  const lists = checked(
    "TESSERA_FETCH_*",
    () => readOutboundConfig(readEnv(OUTBOUND_VARIABLES, getEnv), Deno.readTextFileSync),
  );

  const bus = new Bus({ url: env.TESSERA_NATS_URL, access, name: `tessera-${busId("deliverer", access)}`, log });
  const service = startDeliveryService(bus, {
    secrets,
    outbound: outboundSettings(lists, env.TESSERA_ALLOW_PRIVATE_URLS),
    log,
    schedule: { ...PUBLISHED_SCHEDULE, waitsMs: env.TESSERA_WEBHOOK_SCHEDULE },
  });
  bus.start();

  let isStopping = false;
  const stop = async () => {
    if (isStopping) return;
    isStopping = true;
    await service.close(WEBHOOK_TIMEOUT_MS);
    await bus.close();
    log.info("deliverer_closed", {});
    Deno.exit(0);
  };
  let numSignals = 0;
  const onSignal = () => ++numSignals > 1 ? Deno.exit(130) : void stop();
  Deno.addSignalListener("SIGINT", onSignal);
  if (Deno.build.os !== "windows") Deno.addSignalListener("SIGTERM", onSignal);
  if (env.TESSERA_SUPERVISED) {
    void (async () => {
      for await (const _chunk of Deno.stdin.readable);
      await stop();
    })();
  }
}

try {
  boot();
} catch (error) {
  if (!(error instanceof EnvError)) throw error;
  console.error(error.message);
  Deno.exit(2);
}
