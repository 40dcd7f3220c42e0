// Takes a picture of every page at three widths, in light and in dark.

import { mkdir } from "node:fs/promises";
import path from "node:path";

import { open } from "./browser.mjs";
import { busy, pages, start } from "./host.mjs";

const folder = path.resolve(process.env.SEXTON_TARGET ?? "../../target", "screenshots");
const WIDTHS = [390, 1300, 2000];
const only = process.argv[2];

await mkdir(folder, { recursive: true });
const host = await start();
const browser = await open();
try {
  const runs = await busy(host);
  // The pages are worth more once there is some history.
  await host.eventually("there is some history", async () => {
    const { runs: done } = await host.get("/v1/runs?task=invoices&limit=5");
    return done.length >= 5;
  });
  for (const colorScheme of ["light", "dark"]) {
    for (const width of WIDTHS) {
      const context = await browser.newContext({ colorScheme, viewport: { width, height: 1000 } });
      const page = await context.newPage();
      for (const [name, route] of Object.entries(pages(runs))) {
        if (only && only !== name) continue;
        await page.goto(host.url + route);
        await page.screenshot({ path: path.join(folder, `${name}-${width}-${colorScheme}.png`), fullPage: true });
      }
      await context.close();
    }
  }
  console.log(`pictures are in ${folder}`);
} finally {
  await browser.close();
  await host.stop();
}
