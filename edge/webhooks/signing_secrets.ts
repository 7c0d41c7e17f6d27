/** Signing secrets of each owner of webhooks: two at most, kept sealed; who has none signs with the deployment's. */
import { keptObject, MAX_RECORD_RETRIES, newListId, SIGNING_BUCKET_CONFIG, TesseraError } from "@tessera/shared";
import { z } from "zod";
import type { Bus } from "../dispatch/bus.ts";
import { OwnedRecords, type Stored } from "../records/owned_records.ts";
import { SecretSeal } from "./secret_seal.ts";
import { MAX_SECRETS, newSecret, secretText, type WebhookSecret } from "./signature.ts";

const SigningRecord = keptObject({
  v: z.literal(1),
  /** The newest first. */
  secrets: z.array(z.object({
    id: z.string().min(1),
    /** Unix times in ms. */
    created_ms: z.number(),
    /** From then on it signs nothing; null: until it is removed. */
    expires_ms: z.number().nullable(),
    sealed: z.string().min(1),
  })),
});
type SigningRecord = z.infer<typeof SigningRecord>;

/** What may be told of a secret. */
export type SigningSecret = Omit<SigningRecord["secrets"][number], "sealed">;

/** One record an owner: that there are two secrets at most is then one write's business. */
const RECORD_ID = "secrets";

export interface NewSecretWish {
  /** The owner's own; a new one is drawn where absent. */
  readonly secret?: WebhookSecret | undefined;
  /** When the others end, in seconds from now; absent: they stay. */
  readonly expireOthersInS?: number | undefined;
}

export class SigningSecrets {
  readonly #records: OwnedRecords<typeof SigningRecord>;
  readonly #seal: SecretSeal;
  readonly #deployment: readonly WebhookSecret[];

  /** @param deployment the newest first */
  constructor(bus: Bus, deployment: readonly WebhookSecret[]) {
    this.#records = new OwnedRecords({
      bus,
      bucket: SIGNING_BUCKET_CONFIG,
      schema: SigningRecord,
      idOf: () => RECORD_ID,
    });
    this.#seal = new SecretSeal(deployment);
    this.#deployment = deployment;
  }

  /**
   * What the owner's webhooks are signed with now, the newest first.
   * @throws SealedError when the owner has secrets that cannot be opened: no other signature would be the right one
   */
  async of(owner: string): Promise<readonly WebhookSecret[]> {
    const stored = await this.#records.get(owner, RECORD_ID);
    const live = (stored?.record.secrets ?? []).filter(isLive);
    if (live.length === 0) return this.#deployment;
    return await Promise.all(live.map(async ({ id, sealed }) => {
      const opened = await this.#seal.open(sealed, [owner, id]);
      if (opened === null) throw new SealedError(owner, id);
      return opened.secret;
    }));
  }

  /** Those in use, the newest first. */
  async list(owner: string): Promise<SigningSecret[]> {
    const stored = await this.#records.get(owner, RECORD_ID);
    return (stored?.record.secrets ?? []).filter(isLive).map(({ sealed: _, ...told }) => told);
  }

  /**
   * A secret more; `text` is never told again.
   * @throws TesseraError `invalid_request` when there are two
   */
  async add(
    owner: string,
    { secret = newSecret(), expireOthersInS }: NewSecretWish,
  ): Promise<SigningSecret & { text: string }> {
    const told: SigningSecret = { id: newListId("whs"), created_ms: Date.now(), expires_ms: null };
    const sealed = await this.#seal.seal(secret, [owner, told.id]);
    await this.#change(owner, (secrets) => {
      const end = expireOthersInS === undefined ? Infinity : told.created_ms + expireOthersInS * 1_000;
      const others = secrets
        .map((each) => ({ ...each, expires_ms: earlier(each.expires_ms, end) }))
        .filter(isLive);
      if (others.length >= MAX_SECRETS) {
        throw new TesseraError("invalid_request", {
          message: `There are ${MAX_SECRETS} signing secrets in use. Remove one before another is added.`,
        });
      }
      return [{ ...told, sealed }, ...others];
    });
    return { ...told, text: secretText(secret) };
  }

  /** @throws TesseraError `not_found` */
  async remove(owner: string, id: string): Promise<void> {
    await this.#change(owner, (secrets) => {
      const rest = secrets.filter((each) => each.id !== id);
      if (rest.length < secrets.length) return rest;
      throw new TesseraError("not_found", { message: "No such signing secret.", param: "id" });
    });
  }

  /**
   * Seals anew what an older secret of the deployment had sealed, so that it may be taken away then.
   * @returns how many were, and how many none of the deployment's secrets opens
   */
  async reseal(): Promise<{ readonly numResealed: number; readonly numLost: number }> {
    let numResealed = 0;
    let numLost = 0;
    for (const { owner } of await this.#records.keys("*")) {
      const stored = await this.#records.get(owner, RECORD_ID);
      if (stored === null) continue;
      const secrets = await Promise.all(stored.record.secrets.map(async (each) => {
        const opened = await this.#seal.open(each.sealed, [owner, each.id]);
        if (opened === null) numLost++;
        if (opened === null || !opened.isOld) return each;
        return { ...each, sealed: await this.#seal.seal(opened.secret, [owner, each.id]) };
      }));
      const numNew = secrets.filter((each, index) => each !== stored.record.secrets[index]).length;
      // Where it was changed meanwhile, by an edge or another deliverer, the newest secret sealed it.
      if (numNew > 0 && await this.#write(owner, secrets, stored) !== null) numResealed += numNew;
    }
    return { numResealed, numLost };
  }

  async #change(
    owner: string,
    change: (secrets: SigningRecord["secrets"]) => SigningRecord["secrets"],
  ): Promise<void> {
    for (let round = 0; round < MAX_RECORD_RETRIES; round++) {
      const stored = await this.#records.get(owner, RECORD_ID);
      if (await this.#write(owner, change(stored?.record.secrets ?? []), stored) !== null) return;
    }
    throw new TesseraError("internal_error", { diagnostic: `The signing secrets of ${owner} changed too often` });
  }

  /** Null when somebody else has written in between. */
  async #write(
    owner: string,
    secrets: SigningRecord["secrets"],
    stored: Stored<SigningRecord> | null,
  ): Promise<number | null> {
    const record: SigningRecord = { v: 1, secrets };
    if (stored === null) return await this.#records.create(owner, record);
    return await this.#records.update(owner, record, stored.revision);
  }
}

/** An owner's secret was sealed by none of the deployment's secrets. */
export class SealedError extends Error {
  override readonly name = "SealedError";

  constructor(owner: string, id: string) {
    super(`Cannot open signing secret ${id} of ${owner}: it is sealed by none of TESSERA_WEBHOOK_SECRETS`);
  }
}

function isLive({ expires_ms }: SigningSecret): boolean {
  return expires_ms === null || expires_ms > Date.now();
}

function earlier(a: number | null, b: number): number | null {
  const first = Math.min(a ?? Infinity, b);
  return first === Infinity ? null : first;
}
