#!/usr/bin/env node
// `sg-send`, the older tool's name for `securedgram send`.

import "./node-floor.js";
import { launchCommand } from "./commands/program.js";
import { sendCommand } from "./commands/send.js";

await launchCommand("sg-send", sendCommand);
