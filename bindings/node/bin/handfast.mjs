#!/usr/bin/env node
// The handfast command: `npx handfast serve`, `npx handfast lock …`.
import { main } from '../dist/cli.js';

main();
