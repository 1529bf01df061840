#!/usr/bin/env node

// `sg-clean`, the older tool's name for `securedgram clean`.

import "./node-floor.js";
import { cleanCommand } from "./commands/clean.js";
import { launchCommand } from "./commands/program.js";

await launchCommand("sg-clean", cleanCommand);
