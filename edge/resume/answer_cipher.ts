/** Names and seals kept answers by their id and whose they are: who does not know both finds nothing and reads nothing. */

const NONCE_BYTES = 12;

/** Of one answer. */
export class AnswerCipher {
  /** Token of the subject it is kept under. */
  readonly name: string;
  readonly #key: CryptoKey;

  private constructor(name: string, key: CryptoKey) {
    this.name = name;
    this.#key = key;
  }

  /** @param id of the answer; unguessable @param tenant whose it is */
  static async of(id: string, tenant: string): Promise<AnswerCipher> {
    const digest = async (purpose: string) =>
      new Uint8Array(
        await crypto.subtle.digest("SHA-256", new TextEncoder().encode(JSON.stringify([purpose, id, tenant]))),
      );
    const key = await crypto.subtle.importKey("raw", await digest("key"), "AES-GCM", false, ["encrypt", "decrypt"]);
    return new AnswerCipher((await digest("name")).toHex().slice(0, 32), key);
  }

  async seal(text: string): Promise<Uint8Array> {
    const iv = crypto.getRandomValues(new Uint8Array(NONCE_BYTES));
    const sealed = await crypto.subtle.encrypt({ name: "AES-GCM", iv }, this.#key, new TextEncoder().encode(text));
    const bytes = new Uint8Array(NONCE_BYTES + sealed.byteLength);
    bytes.set(iv);
    bytes.set(new Uint8Array(sealed), NONCE_BYTES);
    return bytes;
  }

  /** @throws when it was not sealed by the same */
  async open(bytes: Uint8Array): Promise<string> {
    const copy = bytes.slice();
    const iv = copy.subarray(0, NONCE_BYTES);
    return new TextDecoder().decode(
      await crypto.subtle.decrypt({ name: "AES-GCM", iv }, this.#key, copy.subarray(NONCE_BYTES)),
    );
  }
}
