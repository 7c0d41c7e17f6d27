/** A deliverer as a process of its own, with waits that a test can wait for. */
import { createLogger } from "@tessera/shared";
import { Bus } from "../../edge/dispatch/bus.ts";
import { OutboundRules } from "../../edge/outbound/rules.ts";
import { startDeliveryService } from "../../edge/webhooks/delivery_service.ts";
import { parseSecrets } from "../../edge/webhooks/signature.ts";

/** As JSON in the variable DELIVERER. */
export interface DelivererSettings {
  readonly natsUrl: string;
  readonly secrets: string;
  readonly waitsMs: readonly number[];
  readonly ackWaitMs: number;
}

if (import.meta.main) {
  const settings = JSON.parse(Deno.env.get("DELIVERER")!) as DelivererSettings;
  const log = createLogger({ level: "info", format: "json", sink: (line) => console.log(line) });
  const bus = new Bus({ url: settings.natsUrl, name: "deliverer", log });
  const service = startDeliveryService(bus, {
    secrets: parseSecrets(settings.secrets),
    outbound: { rules: new OutboundRules({ allowPrivate: true }) },
    log,
    schedule: { waitsMs: settings.waitsMs, random: () => 0.5 },
    ackWaitMs: settings.ackWaitMs,
  });
  bus.start();
  for await (const _chunk of Deno.stdin.readable);
  await service.close(1_000);
  await bus.close();
  Deno.exit(0);
}
