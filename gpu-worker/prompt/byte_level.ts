/** Owns the byte-level alphabet: the printable character each byte is written as in vocab.json and merges.txt. */

const BYTE_OF = new Map<string, number>();
{
  let next = 256;
  for (let byte = 0; byte < 256; byte++) {
    const isPrintable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
    BYTE_OF.set(String.fromCharCode(isPrintable ? byte : next++), byte);
  }
}

/** The 256 characters, in order of the byte they stand for. */
export const BYTE_ALPHABET: readonly string[] = [...BYTE_OF].sort((a, b) => a[1] - b[1]).map(([char]) => char);

const encoder = new TextEncoder();

/** Bytes a vocabulary entry stands for. A character outside the alphabet stands for its own UTF-8. */
export function bytesOfToken(token: string): Uint8Array {
  const bytes: number[] = [];
  for (const char of token) {
    const byte = BYTE_OF.get(char);
    if (byte === undefined) bytes.push(...encoder.encode(char));
    else bytes.push(byte);
  }
  return Uint8Array.from(bytes);
}
