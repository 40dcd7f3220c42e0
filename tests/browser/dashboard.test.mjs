// Tests the dashboard in Chromium, against a real host.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { readFile } from "node:fs/promises";
import { after, before, test } from "node:test";

import { open } from "./browser.mjs";
import { busy, pages, start } from "./host.mjs";

const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

let host;
let browser;
let runs;

before(async () => {
  host = await start();
  browser = await open();
  runs = await busy(host);
});

after(async () => {
  await browser?.close();
  await host?.stop();
});

/** Opens a page, and fails if the browser complains of anything on it. */
async function look(route, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1300, height: 900 }, ...options });
  const page = await context.newPage();
  const complaints = [];
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("console", (line) => {
    const expected = /Failed to load resource.*40[04]/.test(line.text());
    if (line.type() === "error" && !expected) complaints.push(line.text());
  });
  await page.goto(host.url + route);
  return { page, complaints, close: () => context.close() };
}

test("every page loads without a complaint of the browser", async () => {
  for (const [name, route] of Object.entries(pages(runs))) {
    const { page, complaints, close } = await look(route);
    assert.ok(await page.locator("h1").isVisible(), name);
    assert.deepEqual(complaints, [], name);
    await close();
  }
});

test("no page has a violation of accessibility in light, in dark, and on a narrow screen", async () => {
  for (const [what, options] of [
    ["light", { colorScheme: "light" }],
    ["dark", { colorScheme: "dark" }],
    ["narrow", { colorScheme: "light", viewport: { width: 320, height: 640 } }],
    ["without scripts of the page", { colorScheme: "dark", reducedMotion: "reduce" }],
  ]) {
    for (const [name, route] of Object.entries(pages(runs))) {
      const { page, close } = await look(route, { bypassCSP: true, ...options });
      await page.evaluate(axe);
      const { violations } = await page.evaluate(() => globalThis.axe.run({ resultTypes: ["violations"] }));
      const told = violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html, failureSummary }) => `${html} ${failureSummary}`).join("\n")}`);
      assert.deepEqual(told, [], `${name}, ${what}`);
      await close();
    }
  }
});

test("no page is wider than a screen of 320 or 390 points", async () => {
  for (const width of [320, 390]) {
    for (const [name, route] of Object.entries(pages(runs))) {
      const { page, close } = await look(route, { viewport: { width, height: 700 } });
      const wide = await page.evaluate(() => document.documentElement.scrollWidth);
      assert.ok(wide <= width, `${name} is ${wide} wide on ${width}`);
      await close();
    }
  }
});

test("a list is current without a reload, and keeps focus and scroll", async () => {
  const { page, close } = await look("/runs?task=migrate");
  const input = page.locator("input[name=task]");
  await input.focus();
  await input.evaluate((element) => element.setSelectionRange(1, 4));
  await page.evaluate(() => { globalThis.here = "still here"; });
  const first = await page.locator("tbody tr").first().getAttribute("id");

  await host.post("/v1/tasks/migrate/runs", JSON.stringify({ do: "echo" }));

  const pill = page.locator("button.pill");
  await pill.waitFor();
  assert.match(await pill.textContent(), /^1 new run/);
  assert.equal(await page.locator("tbody tr").first().getAttribute("id"), first, "no row moves by itself");
  const state = await page.evaluate(() => [globalThis.here, document.activeElement.name, document.activeElement.selectionStart]);
  assert.deepEqual(state, ["still here", "task", 1]);
  await pill.click();
  assert.notEqual(await page.locator("tbody tr").first().getAttribute("id"), first);
  assert.equal(await pill.count(), 0);
  await close();
});

test("the state of a run changes in place", async () => {
  const { run } = await host.post("/v1/tasks/migrate/runs", JSON.stringify({ do: "sleep", ms: 30000 }));
  const { page, close } = await look(`/runs/${run}`);
  await page.evaluate(() => { globalThis.here = "still here"; });
  await page.locator("#state").getByText("running").waitFor();

  await host.post(`/v1/runs/${run}/kill?now=true`);

  await page.locator("#state").getByText("killed").waitFor();
  assert.equal(await page.evaluate(() => globalThis.here), "still here");
  await page.getByText("Run again").waitFor();
  await close();
});

test("nothing is fetched while the tab is hidden, and the page is current once it is seen", async () => {
  const { page, close } = await look("/");
  let fetched = 0;
  page.on("request", () => { fetched += 1; });
  await page.evaluate(() => {
    Object.defineProperty(document, "hidden", { configurable: true, get: () => globalThis.away });
    globalThis.away = true;
    document.dispatchEvent(new Event("visibilitychange"));
  });
  fetched = 0;
  // Longer than the time between two fetches: that nothing comes cannot be waited for otherwise.
  await page.waitForTimeout(4500);
  assert.equal(fetched, 0);
  const answered = page.waitForResponse(host.url + "/");
  await page.evaluate(() => {
    globalThis.away = false;
    document.dispatchEvent(new Event("visibilitychange"));
  });
  await answered;
  await close();
});

test("seven tabs are all current", async () => {
  const context = await browser.newContext();
  const tabs = [];
  for (let n = 0; n < 7; n += 1) {
    const page = await context.newPage();
    await page.goto(`${host.url}/runs?task=migrate`);
    tabs.push(page);
  }
  await host.post("/v1/tasks/migrate/runs", JSON.stringify({ do: "echo" }));
  for (const page of tabs) {
    await page.bringToFront();
    await page.locator("button.pill").waitFor();
  }
  await context.close();
});

test("all actions work without JavaScript", async () => {
  const { page, close } = await look("/tasks/migrate", { javaScriptEnabled: false });
  await page.getByText("Start a run").click();
  await page.locator("form[action*=start] textarea").fill(`{"do": "spin"}`);
  await page.getByRole("button", { name: "Start it now" }).click();
  await page.getByText("A run was made.").waitFor();
  assert.match(page.url(), /\/runs\/\d+\?done=started$/);

  await page.getByText("Kill", { exact: true }).click();
  await page.locator("form[action*=kill] input[name=reason]").fill("enough");
  await page.getByRole("button", { name: /^Kill run/ }).click();
  await page.getByText("The run was told to end.").waitFor();

  await page.goto(`${host.url}/tasks/migrate`);
  await page.getByText("Pause", { exact: true }).click();
  await page.locator("form[action*=pause] input").fill("moving house");
  await page.getByRole("button", { name: "Pause it" }).click();
  await page.locator("#why").getByText("moving house").waitFor();
  await page.getByRole("button", { name: "Resume" }).click();
  await page.getByText("The pause of the task has ended.").waitFor();

  await page.goto(`${host.url}/runs`);
  await page.locator("select[name=state]").selectOption("failed");
  await page.getByRole("button", { name: "Filter" }).click();
  assert.match(page.url(), /state=failed/);
  const marks = await page.locator("tbody td:nth-child(3)").allTextContents();
  assert.ok(marks.length > 0 && marks.every((mark) => !mark.includes("succeeded")), String(marks));
  await close();
});

test("colours follow the system, and the switch holds without JavaScript", async () => {
  const ground = (page) => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const { page, close } = await look("/", { colorScheme: "dark" });
  const dark = await ground(page);
  await page.getByRole("button", { name: "Light" }).click();
  await page.waitForLoadState();
  const light = await ground(page);
  assert.notEqual(light, dark);
  await page.goto(`${host.url}/runs`);
  assert.equal(await ground(page), light, "it holds for other pages");
  await close();
});

test("times are shown in the reader's zone, which stays in the address", async () => {
  const { page, close } = await look("/runs", { timezoneId: "Asia/Tokyo" });
  await page.getByRole("link", { name: "Mine" }).click();
  await page.waitForURL(/times=Asia%2FTokyo/);
  assert.equal(await page.locator("tbody time i").first().textContent(), "JST");
  await page.locator(".side").getByRole("link", { name: "Tasks" }).click();
  assert.match(page.url(), /times=Asia%2FTokyo/);
  await close();
});

test("keys search, move, open and explain themselves", async () => {
  const { page, close } = await look("/runs");
  await page.keyboard.press("/");
  assert.equal(await page.evaluate(() => document.activeElement.name), "task");
  await page.keyboard.press("Escape");
  await page.keyboard.press("j");
  await page.keyboard.press("j");
  const chosen = page.locator("tr.chosen");
  assert.equal(await chosen.getAttribute("id"), await page.locator("tbody tr").nth(1).getAttribute("id"));
  await page.keyboard.press("k");
  assert.equal(await chosen.getAttribute("id"), await page.locator("tbody tr").nth(0).getAttribute("id"));
  await page.keyboard.press("?");
  await page.getByRole("dialog", { name: "Keys" }).waitFor();
  await page.keyboard.press("Escape");
  await page.getByRole("dialog").waitFor({ state: "hidden" });
  const run = (await chosen.getAttribute("id")).replace("run-", "");
  await page.keyboard.press("Enter");
  await page.waitForURL(new RegExp(`/runs/${run}$`));
  await page.keyboard.press("g");
  await page.keyboard.press("t");
  await page.waitForURL(/\/tasks$/);
  await close();
});

test("the first stop of the tab key leads to the content", async () => {
  const { page, close } = await look("/");
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.textContent), "Skip to the content");
  await page.keyboard.press("Enter");
  assert.equal(await page.evaluate(() => document.activeElement.id), "main");
  await close();
});

test("a schedule is explained while it is typed", async () => {
  const { page, close } = await look("/explain");
  await page.locator("input[name=schedule]").pressSequentially("30 2 * * mon");
  await page.getByText("at 02:30 every Monday").waitFor();
  assert.match(page.url(), /schedule=30\+2/);
  await close();
});

test("the page says so when the host does not answer, and goes on when it does", async () => {
  const { page, close } = await look("/");
  await page.route("**/*", (route) => route.abort());
  await page.getByText("The host does not answer.").waitFor();
  await page.unroute("**/*");
  await page.getByText("The host does not answer.").waitFor({ state: "hidden" });
  await close();
});

test("an empty host says what to do next", async () => {
  const empty = await start({ plugins: {} });
  const page = await browser.newPage();
  for (const [route, text] of [["/", "No tasks yet"], ["/runs", "Nothing has run yet"], ["/plugins", "No plugins yet"]]) {
    await page.goto(empty.url + route);
    await page.getByText(text).waitFor();
  }
  await page.close();
  await empty.stop();
});
