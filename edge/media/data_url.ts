/** Pictures inside the request: data: URLs in base64. */
import { MAX_IMAGE_BYTES, TesseraError } from "@tessera/shared";

/** The media type and parameters before the comma are short; what is longer is no picture. */
const MAX_HEADER_CHARS = 256;

export function isDataUrl(url: string): boolean {
  return url.slice(0, 5).toLowerCase() === "data:";
}

/** Upper bound of the bytes a data: URL holds, without decoding it. */
export function maxDataUrlBytes(url: string): number {
  return Math.ceil(url.length / 4) * 3;
}

/**
 * The bytes of a data: URL. Its media type is not looked at: what a picture is, its bytes say.
 * @throws TesseraError `image_url_invalid` or `image_too_large`
 */
export function parseDataUrl(url: string, param: string): Uint8Array<ArrayBuffer> {
  const comma = url.slice(0, MAX_HEADER_CHARS).indexOf(",");
  const header = url.slice(5, Math.max(comma, 5)).trimEnd().toLowerCase();
  if (comma < 0 || !(header === "base64" || header.endsWith(";base64"))) {
    throw new TesseraError("image_url_invalid", {
      message: "The data: URL is not valid. Use data:image/jpeg;base64, followed by the picture in base64.",
      param,
    });
  }
  let payload = url.slice(comma + 1);
  // Some clients percent-encode +, / and =.
  if (payload.includes("%")) payload = percentDecode(payload, param);
  const lastQuad = payload.slice(-2);
  const padding = lastQuad.endsWith("==") ? 2 : lastQuad.endsWith("=") ? 1 : 0;
  if (Math.floor(((payload.length - padding) * 3) / 4) > MAX_IMAGE_BYTES) throw imageTooLarge(param);
  try {
    return Uint8Array.fromBase64(payload);
  } catch {
    throw notBase64(param);
  }
}

/** The error for encoded pictures above the limit. */
export function imageTooLarge(param: string): TesseraError {
  const limit = MAX_IMAGE_BYTES / 1024 / 1024;
  return new TesseraError("image_too_large", {
    message: `The picture is larger than ${limit} MiB. Send a smaller one.`,
    param,
  });
}

function percentDecode(text: string, param: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw notBase64(param);
  }
}

function notBase64(param: string): TesseraError {
  return new TesseraError("image_url_invalid", {
    message: "The data: URL's contents are not valid base64. Encode the picture's bytes as standard base64.",
    param,
  });
}
