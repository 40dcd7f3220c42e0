// How both rivals are measured: throughput with several worker processes, and the latency of one job at a time.
//
// A rival is a module that is started twice over. The first process is told what to measure, adds jobs and prints one line
// of JSON; it starts the others with `worker MODE`, which do the jobs.

import { fork } from 'node:child_process'
import { readFileSync } from 'node:fs'
import pg from 'pg'

/** Jobs that are added in one statement. */
export const BATCH = 5000

/** Nothing here takes so long; what hangs is ended. */
const PATIENCE = 300_000

/** After each job of the latency test, so that whoever does them is idle again. */
const PAUSE = 10

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

/** What this process was told: `measure URL JSON` or `worker URL MODE`. */
export function told() {
  const [what, url, how] = process.argv.slice(2)
  setTimeout(() => fail(`not done after ${PATIENCE / 1000} s`), PATIENCE).unref()
  return what === 'worker' ? { url, mode: how } : { url, effort: JSON.parse(how) }
}

export function fail(why) {
  console.error(`${process.argv[1]}: ${why?.stack ?? why}`)
  process.exit(1)
}

/** The version that is installed beside this file. */
export function version(name) {
  return JSON.parse(readFileSync(new URL(`node_modules/${name}/package.json`, import.meta.url), 'utf8')).version
}

/** Jobs a second in `mode`, as fast as any number of processes gets, by the better of two ways to look at it. */
export async function rate(rival, mode, effort) {
  const pool = new pg.Pool({ connectionString: rival.url, max: 2 })
  let best = { jobs_per_s: 0, how: '' }
  // A short one says how many jobs a longer one needs.
  let guess = await along(rival, mode, 2, 2000, pool)
  for (const processes of effort.processes) {
    for (const way of [along, drained]) {
      const jobs = Math.ceil(Math.max(guess, best.jobs_per_s) * effort.seconds / BATCH) * BATCH
      await rival.clean()
      // What is left of the rows before is not to slow down those that come.
      await pool.query('VACUUM ANALYZE')
      await pool.query('CHECKPOINT')
      const found = await way(rival, mode, processes, jobs, pool)
      guess = Math.max(guess, found)
      const how = `${processes} process${processes > 1 ? 'es' : ''}, ${way === along ? 'while they come' : 'that are there'}`
      if (found > best.jobs_per_s) best = { jobs_per_s: found, how }
    }
  }
  await rival.clean()
  await pool.end()
  return best
}

/** From the first job added to the last one done, with workers that wait for them. */
async function along(rival, mode, processes, jobs, pool) {
  const crew = await gather(rival, mode, processes)
  await crew.go()
  const began = performance.now()
  await add(rival, jobs)
  await done(rival, crew, jobs, pool)
  const took = performance.now() - began
  await crew.stop()
  return jobs * 1000 / took
}

/** As the rivals' own tests have it: jobs that are all there, from the moment that workers may take them. */
async function drained(rival, mode, processes, jobs, pool) {
  await add(rival, jobs)
  await pool.query('VACUUM ANALYZE')
  const crew = await gather(rival, mode, processes)
  const began = performance.now()
  await crew.go()
  await done(rival, crew, jobs, pool)
  const took = performance.now() - began
  await crew.stop()
  return jobs * 1000 / took
}

async function add(rival, jobs) {
  for (let left = jobs; left > 0; left -= BATCH) await rival.add(Math.min(left, BATCH))
}

/** Until all jobs were done, and the database says so, too. */
async function done(rival, crew, jobs, pool) {
  // The database is asked only when it is about to be so: that it is asked would be part of what is measured.
  while (crew.handled() < jobs) await sleep(5)
  while (!(await pool.query(rival.isEmpty)).rows[0].empty) await sleep(5)
}

/** Worker processes that are connected and wait for the word. */
async function gather(rival, mode, processes) {
  const members = Array.from({ length: processes }, () => {
    const child = fork(rival.file, ['worker', rival.url, mode])
    const member = { child, handled: 0, heard: new Set(), waiting: null, ended: null }
    child.on('message', (message) => {
      if (message.handled !== undefined) member.handled = message.handled
      else member.heard.add(message.say)
      member.waiting?.()
    })
    member.ended = new Promise((resolve) => child.once('exit', (code) => {
      if (code !== 0) fail(`a worker process ended with ${code}`)
      resolve()
    }))
    return member
  })
  const hear = async (member, word) => {
    while (!member.heard.has(word)) await new Promise((resolve) => { member.waiting = resolve })
  }
  const crew = {
    handled: () => members.reduce((sum, member) => sum + member.handled, 0),
    go: async () => {
      for (const { child } of members) child.send('go')
      await Promise.all(members.map((member) => hear(member, 'going')))
    },
    stop: async () => {
      for (const { child } of members) child.send('stop')
      await Promise.all(members.map((member) => member.ended))
    }
  }
  await Promise.all(members.map((member) => hear(member, 'ready')))
  return crew
}

/** A worker process's side: `prepare` connects and returns how to start taking jobs, which returns how to stop. */
export async function work(prepare) {
  let handled = 0
  let said = 0
  const count = (jobs = 1) => { handled += jobs }
  const start = await prepare(count)
  const telling = setInterval(() => {
    if (handled > said) process.send({ handled: said = handled })
  }, 5)
  let stop
  process.on('message', async (word) => {
    try {
      if (word === 'go') {
        stop = await start()
        process.send({ say: 'going' })
      } else {
        await stop()
        clearInterval(telling)
        process.exit(0)
      }
    } catch (error) {
      fail(error)
    }
  })
  // Whoever started this is gone: nobody would end it.
  process.on('disconnect', () => process.exit(1))
  process.send({ say: 'ready' })
}

/** How long it takes from before a job is asked for until its handler is called, one at a time, in milliseconds. */
export async function starts(samples, ask, next) {
  const took = []
  for (let n = -20; n < samples; n++) {
    const called = next()
    const began = performance.now()
    await ask()
    const at = await called
    if (n >= 0) took.push(at - began) // the first few warm up
    await sleep(PAUSE)
  }
  took.sort((a, b) => a - b)
  const at = (part) => took[Math.round((took.length - 1) * part)]
  return { p50: at(0.5), p99: at(0.99), max: at(1) }
}

/** A handler that tells when it is called, and a promise of the next time that it is. */
export function bell() {
  let ring = () => {}
  return {
    called: () => ring(performance.now()),
    next: () => new Promise((resolve) => { ring = resolve })
  }
}
