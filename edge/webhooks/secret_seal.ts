/** Seals owners' signing secrets by the deployment's own, so that the bucket alone tells nobody how to sign. */
import type { WebhookSecret } from "./signature.ts";

const NONCE_BYTES = 12;
const PURPOSE = new TextEncoder().encode("tessera signing secrets, v1");

/** Of one set of deployment's secrets, the newest first: it seals, any of them opens. */
export class SecretSeal {
  readonly #keys: Promise<readonly CryptoKey[]>;

  constructor(secrets: readonly WebhookSecret[]) {
    this.#keys = Promise.all(secrets.map(keyOf));
    this.#keys.catch(() => {});
  }

  /** @param place whose it is, by which name: what was sealed for another place does not open */
  async seal(secret: WebhookSecret, place: readonly string[]): Promise<string> {
    const [newest] = await this.#keys;
    if (newest === undefined) throw new Error("There is no secret to seal with");
    const iv = crypto.getRandomValues(new Uint8Array(NONCE_BYTES));
    const sealed = await crypto.subtle.encrypt(parameters(iv, place), newest, copyOf(secret));
    return new Uint8Array([...iv, ...new Uint8Array(sealed)]).toBase64();
  }

  /** `isOld`: not by the newest. Null: by none of them, or not for this place. */
  async open(
    text: string,
    place: readonly string[],
  ): Promise<{ readonly secret: WebhookSecret; readonly isOld: boolean } | null> {
    const bytes = Uint8Array.fromBase64(text);
    const iv = bytes.slice(0, NONCE_BYTES);
    for (const [index, key] of (await this.#keys).entries()) {
      try {
        const opened = await crypto.subtle.decrypt(parameters(iv, place), key, bytes.slice(NONCE_BYTES));
        return { secret: new Uint8Array(opened), isOld: index > 0 };
      } catch {
        // By another, perhaps.
      }
    }
    return null;
  }
}

/** A key for this alone: whoever learns it cannot sign with it. */
async function keyOf(secret: WebhookSecret): Promise<CryptoKey> {
  const material = await crypto.subtle.importKey("raw", copyOf(secret), "HKDF", false, ["deriveKey"]);
  const derivation = { name: "HKDF", hash: "SHA-256", salt: new Uint8Array(32), info: PURPOSE };
  const aes = { name: "AES-GCM", length: 256 };
  return await crypto.subtle.deriveKey(derivation, material, aes, false, ["encrypt", "decrypt"]);
}

function parameters(iv: Uint8Array<ArrayBuffer>, place: readonly string[]) {
  return { name: "AES-GCM", iv, additionalData: new TextEncoder().encode(JSON.stringify(place)) };
}

function copyOf(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return new Uint8Array(bytes);
}
