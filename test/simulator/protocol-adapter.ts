// What a protocol brings to the simulator: its processes, with keys for every pair of hosts.

import type { Birth, SimProcess } from "./host.js";
import type { Scenario } from "./scenario.js";

export interface ProtocolAdapter {
  /** A run begins; nothing of the one before counts any more. */
  begin(scenario: Scenario): void;
  /** `identity`: whose keys it has. */
  newProcess(birth: Birth, identity: number): SimProcess;
  /** Under what others file the messages of an identity. */
  scopeOf(identity: number): string;
  /**
   * Datagrams so far that drew an answer of their own, each once: one that was held up under way may do
   * so whenever it comes.
   */
  readonly firstAnswers: number;
}
