// Starts a real host in a folder of its own, with tasks that make every page worth looking at.

import { spawn } from "node:child_process";
import { copyFile, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";

const target = path.resolve(process.env.SEXTON_TARGET ?? "../../target");
/** Compiling a guest takes a while on a busy machine. */
const PATIENCE = 240_000;

/** Permissions that the guest `probe` asks for. */
const GRANTS = `grants = { locks = ["*"], cache = ["*"], schedule = ["*"], http = ["127.0.0.1:1"] }`;

/** Plugins: a component, and its manifest. */
const PLUGINS = {
  hello: ["hello", `[tasks.hello]\ndescription = "Says hello to whoever reads the log"\nevery = "2s"\nlabels = { team = "web" }\n`],
  report: ["probe", `[tasks.report-day]
description = "Adds up the sales of the day"
cron = "30 2 * * *"
zone = "Europe/Berlin"
${GRANTS}
labels = { team = "sales" }
input-json = { do = "echo", value = { sum = 4711 } }
[tasks.report-week]
description = "Adds up the sales of the week"
cron = "0 9 * * mon"
zone = "America/New_York"
${GRANTS}
labels = { team = "sales" }
input-json = { do = "echo", value = { sum = 31337 } }
`],
  shop: ["probe", `[tasks.stock]
description = "Compares the shelves with the ledger"
every = "2s"
overlap = "allow(3)"
${GRANTS}
input-json = { do = "lock-hold", name = "ledger", wait-ms = 40000, how = "sleep", ms = 8000 }
limits = { deadline = "50s" }
[tasks.invoices]
description = "Sends what was ordered, and fails when the printer is out of paper"
every = "7s"
${GRANTS}
retry = { attempts = 1 }
input-json = { do = "panic", message = "the printer is out of paper" }
[tasks.newsletter]
description = "Writes to customers who asked for it"
every = "9s"
${GRANTS}
retry = { attempts = 1 }
input-json = { do = "fail-permanent" }
[tasks.prices]
description = "Renews the prices"
every = "3s"
${GRANTS}
input-json = { do = "cache-set", key = "shop/prices", value = "apples 3, pears 4" }
[tasks.migrate]
description = "Moves old orders; only when asked for"
${GRANTS}
retry = { attempts = 1 }
limits = { deadline = "1h", memory = "32 MiB", fuel = 1_000_000_000_000_000 }
overlap = "allow(20)"
`],
};

/** Starts a host. Without plugins it is empty. */
export async function start({ plugins = PLUGINS } = {}) {
  const folder = await mkdtemp(path.join(tmpdir(), "sexton-browser-"));
  await mkdir(path.join(folder, "plugins"));
  await writeFile(path.join(folder, "sexton.toml"), `[http]\nlisten = "127.0.0.1:0"\n`);
  for (const [name, [component, manifest]] of Object.entries(plugins)) {
    await writeFile(path.join(folder, "plugins", `${name}.toml`), manifest);
    await copyFile(path.join(target, "guests", `${component}.wasm`), path.join(folder, "plugins", `${name}.wasm`));
  }
  const child = spawn(path.join(target, "debug", "sexton"), ["run"], { cwd: folder, stdio: ["ignore", "ignore", "pipe"] });
  let log = "";
  const url = await new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error(`the host did not come up:\n${log}`)), PATIENCE);
    child.stderr.setEncoding("utf8").on("data", (text) => {
      log += text;
      const found = log.match(/ is up: (http:\/\/[0-9.:]+)/);
      if (found) {
        clearTimeout(late);
        resolve(found[1]);
      }
    });
    child.on("exit", (code) => reject(new Error(`the host ended (${code}):\n${log}`)));
  });
  const ask = async (method, route, body) => {
    const answer = await fetch(url + route, { method, body });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${method} ${route}: ${answer.status} ${text}`);
    return text ? JSON.parse(text) : null;
  };
  const host = {
    url,
    get: (route) => ask("GET", route),
    post: (route, body) => ask("POST", route, body),
    put: (route, body) => ask("PUT", route, body),
    log: () => log,
    async stop() {
      child.removeAllListeners("exit");
      const ended = new Promise((resolve) => child.on("exit", resolve));
      child.kill("SIGKILL");
      await ended;
      await rm(folder, { recursive: true, force: true });
    },
    /** Asks until there is an answer. */
    async eventually(what, look) {
      const end = Date.now() + PATIENCE;
      while (Date.now() < end) {
        const found = await look();
        if (found) return found;
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
      throw new Error(`${what}: it never came to that\n${log}`);
    },
  };
  for (const name of Object.keys(plugins)) {
    await host.eventually(`${name} is loaded`, async () => {
      const { plugins: all } = await host.get("/v1/plugins");
      return all.find((plugin) => plugin.name === name)?.loaded_at;
    });
  }
  return host;
}

/** Makes the host busy: runs of all kinds, a lock that others wait for, an added schedule, a pause. */
export async function busy(host) {
  const run = async (input) => (await host.post("/v1/tasks/migrate/runs", JSON.stringify(input))).run;
  const over = async (id) => (await host.get(`/v1/runs/${id}/wait?timeout=30s`)).run;
  await host.post("/v1/tasks/report-day/runs");
  await host.post("/v1/tasks/report-week/runs");
  const failed = await run({ do: "panic", message: "order 17 has no address" });
  const memory = await run({ do: "eat-memory" });
  const logged = await run({ do: "log-flood", lines: 40, bytes: 60 });
  for (const id of [failed, memory, logged]) await over(id);
  await host.put("/v1/schedules/weekly", JSON.stringify({ task: "report-week", cron: "0 9 * * mon", zone: "Europe/Berlin", data: { week: 49 } }));
  await host.post("/v1/tasks/report-week/pause?reason=the%20ledger%20moves");
  const spins = await run({ do: "spin" });
  await host.eventually("the run spins", async () => (await host.get(`/v1/runs/${spins}`)).run.state === "running");
  await host.eventually("runs wait for the lock", async () => {
    const { locks } = await host.get("/v1/locks/graph");
    return locks.some((lock) => lock.waiters.length > 0);
  });
  return { failed, memory, logged, spins };
}

/** All pages, with a run of each kind. */
export function pages({ failed, spins, logged }) {
  return {
    now: "/",
    tasks: "/tasks",
    task: "/tasks/invoices",
    runs: "/runs",
    run: `/runs/${failed}`,
    "run-live": `/runs/${spins}?look=now`,
    "run-log": `/runs/${logged}`,
    timeline: "/timeline?hours=1",
    calendar: "/calendar",
    schedules: "/schedules",
    locks: "/locks",
    cache: "/cache?key=shop%2Fprices",
    plugins: "/plugins",
    hosts: "/hosts",
    explain: "/explain?schedule=30+2+*+*+sun&zone=Europe%2FBerlin",
    refused: "/runs/999999",
  };
}
