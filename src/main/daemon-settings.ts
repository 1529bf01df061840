// From the configuration to what the daemon's actors take: seconds to ns, rings to the core's view of
// them and, apart from it, their keys.

import { NS_PER_SECOND, nanoseconds } from "../shared/base/units.js";
import type { Config } from "./config.js";
import type { DaemonSettings } from "./daemon.js";
import { copyKeys } from "./peers.js";
import { base64Text } from "./secrets.js";
import { sessionSettings } from "./session-settings.js";

/** The part of a configuration that a reload may change. The keys are copies, for the daemon to wipe. */
export function daemonSettings(config: Config): DaemonSettings {
  const { retryIntervalSeconds } = config;
  return {
    protocol: {
      rings: config.rings.map(({ name, addresses, keys }, ring) => ({
        name,
        scope: scopeOf(config, ring),
        addresses,
        keys: [keys.current, keys.previous, keys.next].filter((key) => key !== undefined).length,
      })),
      windowNs: config.windowSeconds * NS_PER_SECOND,
      ratePerSecond: config.ratePerSecond,
      burst: config.burst,
      retry: {
        intervalNs:
          retryIntervalSeconds === undefined
            ? undefined
            : nanoseconds(retryIntervalSeconds * NS_PER_SECOND),
        retriesMax: config.maxRetries,
      },
      knownShare: config.receiveCpuShare,
      strangerShare: config.strangerCpuShare,
      strangersShare: config.strangersCpuShare,
    },
    keys: config.rings.map(({ keys }) => copyKeys(keys)),
    sessions: sessionSettings(config),
    lifeSeconds: config.lifeSeconds,
    quotaBytes: config.quotaBytes,
  };
}

/** Ids of a peer with a public key are known under it, however they came. */
function scopeOf({ peers, rings }: Config, ring: number): string | undefined {
  const owner = peers.find(({ config }) => config.name === rings[ring]?.name);
  const key = owner?.config.publicKey;
  return key === undefined ? undefined : base64Text(key);
}
