// Owns the picture a fresh worker tiles until its code is fast: a JPEG of 64x48 pixels with subsampled colour.
import type { CheckedLimits, CheckedOptions } from "./options.ts";

const BASE64 =
  "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDABQODxIPDRQSEBIXFRQYHjIhHhwcHj0sLiQySUBMS0dARkVQWnNiUFVtVkVGZIhlbXd7gYKBTmCN" +
  "l4x9lnN+gXz/2wBDARUXFx4aHjshITt8U0ZTfHx8fHx8fHx8fHx8fHx8fHx8fHx8fHx8fHx8fHx8fHx8fHx8fHx8fHx8fHx8fHx8fHz/wAAR" +
  "CAAwAEADASIAAhEBAxEB/8QAHwAAAQUBAQEBAQEAAAAAAAAAAAECAwQFBgcICQoL/8QAtRAAAgEDAwIEAwUFBAQAAAF9AQIDAAQRBRIhMUEG" +
  "E1FhByJxFDKBkaEII0KxwRVS0fAkM2JyggkKFhcYGRolJicoKSo0NTY3ODk6Q0RFRkdISUpTVFVWV1hZWmNkZWZnaGlqc3R1dnd4eXqDhIWG" +
  "h4iJipKTlJWWl5iZmqKjpKWmp6ipqrKztLW2t7i5usLDxMXGx8jJytLT1NXW19jZ2uHi4+Tl5ufo6erx8vP09fb3+Pn6/8QAHwEAAwEBAQEB" +
  "AQEBAQAAAAAAAAECAwQFBgcICQoL/8QAtREAAgECBAQDBAcFBAQAAQJ3AAECAxEEBSExBhJBUQdhcRMiMoEIFEKRobHBCSMzUvAVYnLRChYk" +
  "NOEl8RcYGRomJygpKjU2Nzg5OkNERUZHSElKU1RVVldYWVpjZGVmZ2hpanN0dXZ3eHl6goOEhYaHiImKkpOUlZaXmJmaoqOkpaanqKmqsrO0" +
  "tba3uLm6wsPExcbHyMnK0tPU1dbX2Nna4uPk5ebn6Onq8vP09fb3+Pn6/9oADAMBAAIRAxEAPwDk0SrCR0RpVqOOpS5iVMakdWUip8cdWY4q" +
  "tUOY1VQjSKrCQ+1SKqr1qZD6L+dZzp0oaSZtGoxEh9qsJB7UIHPt9KsJEx6k1ztU38MWzeM2cbGlXIo6ZElXIo67aC5jwOcWNABk1IpLcLwK" +
  "MbmwOgqzFF7UqtWU5ezp7G0ZW1Y2KKraRhRk8UgG3gDJqaOIk5NczcYPlgrs6IzuKn+yv51YRGbqaFVV9z6VOiM3sPauec23aTu+yNozOPhS" +
  "rirtTNRwpVor90V2058lJyR4KlqNhjq0BtGB1pYk2jPpUsUeTk9TWTbhFQjuzaMxYYqnUZ4Xp61Su9StrTMZbe46ovJ/+tWVc6tcTjCnykPR" +
  "V6n6miFGc1yx0it3/kejQoVKuuyN241C1sRh33v/AHF5NZNzq93eZWM+REf4U6n6ms2OMk7mqwik8LwK3hQhTW3+bPboYenT1erP/9k=";

export const WARM_UP_JPEG = Uint8Array.from(atob(BASE64), (char) => char.charCodeAt(0));

export const WARM_UP_LIMITS: CheckedLimits = { maxPixels: 64 * 48, maxSide: 64 };

export const WARM_UP_OPTIONS: CheckedOptions = {
  tileSize: 96,
  minTiles: 4,
  maxTiles: 4,
  thumbnail: true,
  exact: false,
};

/** After this many the first real picture is nearly as fast as the next ones; on a busy machine time ends it earlier. */
export const WARM_UP_ROUNDS = 100;
export const WARM_UP_LIMIT_MS = 150;
