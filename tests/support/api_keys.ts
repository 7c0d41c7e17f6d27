/** API keys as `tessera keys` leaves them in the bucket. */
import { Kvm } from "@nats-io/kv";
import { connect } from "@nats-io/transport-node";
import { type ApiKey, apiKeyHash, encodeMessage, type KeyLimits, KEYS_BUCKET_CONFIG, newId } from "@tessera/shared";

export const NO_LIMITS: KeyLimits = {
  requests_per_minute: null,
  tokens_per_minute: null,
  concurrency: null,
  tokens_per_month: null,
};

/** A key that may do all but administer, without limits. */
export function apiKey(fields: Partial<ApiKey> = {}): ApiKey {
  const id = fields.id ?? newId("key");
  return {
    v: 1,
    id,
    name: "test",
    tenant: id,
    scopes: ["inference", "captions", "files", "batches"],
    limits: NO_LIMITS,
    created_ms: Date.now(),
    expires_ms: null,
    revoked_ms: null,
    ...fields,
  };
}

/** Makes or changes the key of a secret. */
export async function putApiKey(natsUrl: string, secret: string, key: ApiKey): Promise<void> {
  const nc = await connect({ servers: natsUrl });
  try {
    const bucket = await new Kvm(nc).create(KEYS_BUCKET_CONFIG.name, { ...KEYS_BUCKET_CONFIG.options });
    await bucket.put(await apiKeyHash(secret), encodeMessage(key, 1024 * 1024));
  } finally {
    await nc.close();
  }
}
