#!/usr/bin/env node
// `sg-recv`, the older tool's name for `securedgram recv`.

import "./node-floor.js";
import { launchCommand } from "./commands/program.js";
import { recvCommand } from "./commands/recv.js";

await launchCommand("sg-recv", recvCommand);
