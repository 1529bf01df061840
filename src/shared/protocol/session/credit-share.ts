// What each peer may have unfinished here: memory for all, shared out among those that are configured.

import {
  CREDIT_BYTES_ALL,
  CREDIT_BYTES_MAX,
  CREDIT_BYTES_MIN,
  CREDIT_MESSAGES_MAX,
  CREDIT_MESSAGES_MIN,
} from "./limits.js";
import type { PeerLimits } from "./peer-config.js";

/** Messages of all peers together. */
const CREDIT_MESSAGES_ALL = 2 ** 18;

export interface Share {
  readonly messages: number;
  readonly bytes: number;
}

/** What is granted to one of so many peers, unless its entry says otherwise. */
export function shareOf(peers: number, limits: PeerLimits): Share {
  return {
    messages:
      limits.creditMessages ??
      clamp(CREDIT_MESSAGES_ALL / peers, CREDIT_MESSAGES_MIN, CREDIT_MESSAGES_MAX),
    bytes:
      limits.creditBytes ?? clamp(CREDIT_BYTES_ALL / peers, CREDIT_BYTES_MIN, CREDIT_BYTES_MAX),
  };
}

const clamp = (value: number, least: number, most: number): number =>
  Math.floor(Math.min(most, Math.max(least, value)));
