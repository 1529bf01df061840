// Options of all actions of `securedgram peer`.

import { PEER_MODES } from "../../shared/protocol/session/peer-config.js";
import type { Arguments, OptionTable } from "./command.js";
import { PEER_FILE_OPTIONS } from "./peer-file.js";

export const PEER_OPTIONS = {
  ...PEER_FILE_OPTIONS,
  "public-key": { kind: "text", short: "k", placeholder: "KEY", summary: "public key of the peer" },
  "secret-file": { kind: "text", placeholder: "FILE", summary: "file with the secret of the pair" },
  address: {
    kind: "list",
    short: "a",
    placeholder: "ADDRESS",
    summary: "IP, IP:port, [IPv6]:port or host name; may be given several times",
  },
  mode: { kind: "choice", short: "m", choices: PEER_MODES, summary: "what is spoken with it" },
  "auto-until": { kind: "text", placeholder: "DATE", summary: "when mode auto has to end" },
  identity: { kind: "flag", summary: "rotate our identity, not a pair's secret" },
  install: {
    kind: "text",
    placeholder: "FILE|-",
    summary: "install the secret that the peer made",
  },
  finish: { kind: "flag", summary: "the next key becomes the current one" },
  abandon: { kind: "flag", summary: "remove the next key; the daemon must not run" },
  force: { kind: "flag", summary: "although it is not proven that the peer can follow" },
  json: { kind: "flag", summary: "print as JSON" },
} as const satisfies OptionTable;

export type PeerLine = Arguments<typeof PEER_OPTIONS>;
