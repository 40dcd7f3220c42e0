//! Serves the page for people: one HTML document without scripts, which loads nothing.

use std::fmt::{self, Display, Write};

use axum::extract::State;
use axum::http::HeaderValue;
use axum::http::header::CONTENT_SECURITY_POLICY;
use axum::response::{Html, IntoResponse, Response};

use sexton_domain::pause::PausedBy;
use sexton_domain::run::RunState;
use sexton_domain::time::Timestamp;
use sexton_store::RunFilter;

use super::api_state::App;
use super::api_types::following::ChainShape;
use super::api_types::hosts::{HostShape, HostState};
use super::api_types::locks::{HeldLockShape, LockKind, LockMode};
use super::api_types::plugins::PluginShape;
use super::api_types::runs::RunShape;
use super::api_types::{TaskSummary, ago};
use super::error::ApiResult;
use super::extract::{ApiQuery, NoQuery, Tenant, query_of};
use super::tasks::summaries;
use super::{chains, host, hosts};

/// The number of runs shown.
const RUNS: usize = 30;

/// The number of tasks, chains and plugins shown. Every open page is rendered anew every few seconds, and a tenant may
/// have thousands.
const ROWS: usize = 500;

/// The number of a plugin's tasks shown.
const NAMES: usize = 20;

/// The seconds after which a browser reloads the page.
const REFRESH: u32 = 5;

const STYLE: &str = "body{font:15px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:76rem;padding:0 1rem;\
color:#1d2127;background:#fff}h1{font-size:1.3rem}h2{font-size:1.05rem;margin:2rem 0 .4rem}\
table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.25rem .8rem .25rem 0;vertical-align:top;\
border-bottom:1px solid #e4e6ea;overflow-wrap:anywhere}th{font-weight:600;white-space:nowrap;color:#5b626c}small,.waiting{color:#5b626c}\
.succeeded{color:#17703a}.failed,.bad{color:#b3261e}.running{color:#8a5a00}.cancelled{color:#5b626c}\
@media(prefers-color-scheme:dark){body{color:#dfe2e7;background:#16181c}td,th{border-color:#33373e}a{color:#8ab4f8}\
.succeeded{color:#5fc98a}.failed,.bad{color:#f2867e}.running{color:#e0b25a}}";

/// `GET /`.
pub(super) async fn page(State(app): State<App>, Tenant(tenant): Tenant, _: ApiQuery<NoQuery>) -> ApiResult<Response> {
    let (tasks, _) = summaries(&app, &tenant, None, |_| true, ROWS).await?;
    let all_tasks = app.catalog.count_of(&tenant);
    let filter = RunFilter { tenant: Some(tenant.clone()), limit: RUNS, ..RunFilter::default() };
    let chains = chains::of_tenant(&app, &tenant).await?;
    let runs = app.store.runs(filter).await?.into_iter().map(RunShape::from).collect();
    let locks = app.store.locks(tenant.clone()).await?.into_iter().map(HeldLockShape::from).collect();
    let plugins = host::plugins_of(&app, &tenant);
    let (of, hosts) = (query_of(&tenant), hosts::all(&app).await?);
    let shown = Shown { app: &app, of, hosts, tasks, all_tasks, chains, runs, locks, plugins, now: app.clock.now() };
    let mut response = Html(shown.to_string()).into_response();
    let policy =
        "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    Ok(response)
}

struct Shown<'a> {
    app: &'a App,
    /// The query that links end with, so that they are about the same tenant.
    of: String,
    hosts: Vec<HostShape>,
    tasks: Vec<TaskSummary>,
    /// The number of tasks, including those that are not shown.
    all_tasks: usize,
    chains: Vec<ChainShape>,
    runs: Vec<RunShape>,
    locks: Vec<HeldLockShape>,
    plugins: Vec<PluginShape>,
    now: Timestamp,
}

impl Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = &self.app.host;
        let name = Text(&host.name);
        let under_way = match self.app.live.all().len() {
            1 => "1 attempt".to_owned(),
            many => format!("{many} attempts"),
        };
        write!(f, "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Sexton on {name}</title>")?;
        write!(f, "<meta name=\"viewport\" content=\"width=device-width\">")?;
        write!(f, "<meta http-equiv=\"refresh\" content=\"{REFRESH}\"><style>{STYLE}</style>")?;
        write!(
            f,
            "<h1>Sexton {} on {name}</h1><p>up since {} ({}), process {}, {under_way} under way. It is {}.</p>",
            Text(&host.version),
            Text(&second(host.started_at)),
            self.age(host.started_at),
            host.pid,
            Text(&second(self.now)),
        )?;
        if let Some(since) = self.app.pause.since() {
            write!(f, "<p class=\"bad\">Paused by a signal since {}: nothing starts here.</p>", Text(&second(since)))?;
        }
        if let Some(doubt) = self.app.clock.doubt() {
            write!(f, "<p class=\"bad\">{}</p>", Text(&doubt))?;
        }
        if self.app.is_draining() {
            f.write_str("<p class=\"bad\">Draining: this host takes no runs.</p>")?;
        }
        self.hosts(f)?;
        let tenants = self.app.tenants.all();
        if tenants.len() > 1 {
            f.write_str("<p>Tenants:")?;
            for tenant in tenants.keys() {
                write!(f, " <a href=\"/?tenant={tenant}\">{tenant}</a>")?;
            }
            f.write_str("</p>")?;
        }
        self.tasks(f)?;
        self.chains(f)?;
        self.runs(f)?;
        self.plugins(f)?;
        self.locks(f)?;
        f.write_str("<p><small>The same for programs:")?;
        for route in ["tasks", "chains", "runs", "plugins", "locks", "locks/graph", "cache", "host", "hosts"] {
            write!(f, " <a href=\"/v1/{route}{}\">/v1/{route}</a>", self.of)?;
        }
        f.write_str("</small></p></html>")
    }
}

impl Shown<'_> {
    fn age(&self, at: Timestamp) -> String {
        ago(at, self.now)
    }

    /// Writes a line that says where all entries are listed, if there are more than a page shows.
    fn more(&self, f: &mut fmt::Formatter<'_>, all: usize, what: &str) -> fmt::Result {
        if all <= ROWS {
            return Ok(());
        }
        write!(
            f,
            "<p>The first {ROWS} of {all} {what}; <a href=\"/v1/{what}{}\">/v1/{what}</a> lists all.</p>",
            self.of
        )
    }

    /// Writes a line with the hosts that share the store, if there are others.
    fn hosts(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.hosts.len() < 2 {
            return Ok(());
        }
        f.write_str("<p>Hosts:")?;
        for (n, host) in self.hosts.iter().enumerate() {
            let (comma, name) = (if n == 0 { "" } else { "," }, Text(&host.name));
            match host.state {
                HostState::Gone => write!(f, "{comma} <span class=\"bad\">{name} (gone)</span>")?,
                state => write!(f, "{comma} {name} ({state}, {} of {})", host.attempts, host.slots)?,
            }
        }
        f.write_str("</p>")
    }

    fn chains(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.chains.is_empty() {
            return Ok(());
        }
        f.write_str("<h2>Chains</h2><table><tr><th>Chain<th>Round<th>Links<th>Now</tr>")?;
        for chain in self.chains.iter().take(ROWS) {
            write!(f, "<tr><td>{}<td>{}<td>", Text(chain.name.as_str()), chain.round)?;
            for (n, link) in chain.links.iter().enumerate() {
                let (arrow, name) = (if n == 0 { "" } else { " → " }, Text(link.task.as_str()));
                if n + 1 == chain.link {
                    write!(f, "{arrow}<b>{name}</b>")?;
                } else {
                    write!(f, "{arrow}{name}")?;
                }
            }
            f.write_str("<td>")?;
            match (chain.paused, chain.run, chain.next, &chain.waits_for) {
                (true, ..) => {
                    let why = chain.paused_why.as_deref().unwrap_or_default();
                    write!(f, "<span class=\"bad\">paused</span> <small>{}</small>", Text(why))?;
                }
                (_, _, _, Some(what)) => write!(f, "{}", Text(what))?,
                (_, Some(run), ..) => write!(f, "run {run}")?,
                (_, None, Some(next), _) => write!(f, "next {}", self.age(next))?,
                (_, None, None, None) => f.write_str("–")?,
            }
            f.write_str("</tr>")?;
        }
        f.write_str("</table>")?;
        self.more(f, self.chains.len(), "chains")
    }

    fn tasks(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<h2>Tasks</h2>")?;
        if self.tasks.is_empty() {
            return f.write_str("<p>No plugin offers a task yet.</p>");
        }
        f.write_str("<table><tr><th>Task<th>When<th>Next<th>Latest run<th>Result</tr>")?;
        for task in &self.tasks {
            let name = Text(&task.name);
            write!(f, "<tr><td>{name}")?;
            if let Some(description) = &task.description {
                write!(f, "<br><small>{}</small>", Text(description))?;
            }
            write!(f, "<td>{} <small>({})", Text(&task.trigger.text), Text(&task.zone))?;
            for about in [&task.timing, &task.set_back, &task.left_out].into_iter().flatten() {
                write!(f, "<br>{}", Text(about))?;
            }
            f.write_str("</small><td>")?;
            match task.next.first() {
                _ if task.paused => {
                    let by = match task.paused_by {
                        Some(PausedBy::Tenant) => ", as its tenant is",
                        Some(PausedBy::All) => ", as all tasks are",
                        _ => "",
                    };
                    write!(f, "<span class=\"bad\">paused{by}</span>")?;
                    let since = task.paused_at.map(|at| self.age(at)).unwrap_or_default();
                    let why = task.paused_why.as_deref().unwrap_or_default();
                    write!(f, "<br><small>{} {}</small>", Text(&since), Text(why))?;
                }
                _ if let Some(until) = task.held_until => {
                    f.write_str("<span class=\"bad\">held back</span>")?;
                    write!(f, "<br><small>{}, after {} crashes</small>", self.age(until), task.crashes)?;
                }
                _ if task.held_back.is_some() => {
                    let reason = task.held_back.as_ref().map_or("", |held_back| &held_back.reason);
                    write!(f, "<span class=\"bad\">{}</span>", Text(reason))?;
                }
                Some(due) => write!(f, "{}<br><small>{}</small>", self.age(due.at), Text(&due.local))?,
                None => write!(f, "{}", Text(task.done.as_deref().unwrap_or("\u{2013}")))?,
            }
            f.write_str("<td>")?;
            match &task.last {
                Some(last) => {
                    write!(f, "<a href=\"/v1/runs/{0}{1}\">{0}</a> {2}", last.run, self.of, Coloured(last.state))?;
                    write!(f, " <small>{}</small>", self.age(last.ended_at.unwrap_or(last.due_at)))?;
                }
                None => f.write_str("&ndash;")?,
            }
            if let Some(waiting) = &task.waiting {
                let (run, of) = (waiting.run, &self.of);
                write!(f, "<br><small><a href=\"/v1/runs/{run}{of}\">{run}</a> waits")?;
                if waiting.run_at > self.now {
                    write!(f, ", starts {}", self.age(waiting.run_at))?;
                }
                f.write_str("</small>")?;
            }
            write!(f, "<td><a href=\"/v1/tasks/{name}/result{}\">result</a></tr>", self.of)?;
        }
        f.write_str("</table>")?;
        self.more(f, self.all_tasks, "tasks")
    }

    fn runs(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<h2>Newest runs</h2>")?;
        if self.runs.is_empty() {
            return f.write_str("<p>Nothing has run yet.</p>");
        }
        f.write_str("<table><tr><th>Run<th>Task<th>State<th>Due<th>Took<th>Attempt<th>Message</tr>")?;
        for run in &self.runs {
            let (id, of) = (run.id, &self.of);
            write!(
                f,
                "<tr><td><a href=\"/v1/runs/{id}{of}\">{id}</a> <small><a href=\"/v1/runs/{id}/log{of}\">log</a>"
            )?;
            if run.state == RunState::Succeeded {
                write!(f, " <a href=\"/v1/runs/{id}/output{of}\">output</a>")?;
            }
            write!(f, "</small><td>{}<td>{}", Text(&run.task), Coloured(run.state))?;
            if let Some(outcome) = run.outcome.filter(|outcome| outcome.as_str() != run.state.as_str()) {
                write!(f, " <small>{outcome}</small>")?;
            }
            write!(f, "<td>{}<br><small>{}</small><td>", self.age(run.due_at), Text(&second(run.due_at)))?;
            if let (Some(claimed), Some(ended)) = (run.claimed_at, run.ended_at) {
                write!(f, "{:.3} s", ended.since(claimed).as_secs_f64())?;
            }
            let said = run.why.as_deref().or(run.message.as_deref()).unwrap_or_default();
            write!(f, "<td>{}<td>{}", run.attempt, Text(&said.chars().take(300).collect::<String>()))?;
            if let Some(note) = &run.note {
                write!(f, " <small>{}</small>", Text(note))?;
            }
            f.write_str("</tr>")?;
        }
        f.write_str("</table>")
    }

    fn plugins(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<h2>Plugins</h2>")?;
        if self.plugins.is_empty() {
            return f.write_str("<p>The plugin directory is empty.</p>");
        }
        f.write_str("<table><tr><th>Plugin<th>Kind<th>Tasks<th>Size<th>In use since<th>Not used because</tr>")?;
        for plugin in self.plugins.iter().take(ROWS) {
            let mut tasks: Vec<&str> = plugin.tasks.iter().take(NAMES).map(|task| task.as_str()).collect();
            let more = format!("and {} more", plugin.tasks.len().saturating_sub(NAMES));
            if plugin.tasks.len() > NAMES {
                tasks.push(&more);
            }
            write!(f, "<tr><td>{}<td>{}", Text(&plugin.name), Text(plugin.kind.as_deref().unwrap_or("?")))?;
            write!(f, "<td>{}<td>{} KiB<td>", Text(&tasks.join(", ")), plugin.size.div_ceil(1024))?;
            match plugin.loaded_at {
                Some(at) => f.write_str(&self.age(at))?,
                None => f.write_str("never")?,
            }
            write!(f, "<td class=\"bad\">{}</tr>", Text(plugin.quarantine.as_deref().unwrap_or_default()))?;
        }
        f.write_str("</table>")?;
        self.more(f, self.plugins.len(), "plugins")
    }

    fn locks(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<h2>Locks that are held</h2>")?;
        if self.locks.is_empty() {
            return f.write_str("<p>None.</p>");
        }
        f.write_str("<table><tr><th>Lock<th>Mode<th>Held by<th>Since</tr>")?;
        for held in &self.locks {
            let kind = if held.lock.kind == LockKind::Refresh { "refresh of " } else { "" };
            let mode = if held.mode == LockMode::Shared { "shared" } else { "exclusive" };
            write!(f, "<tr><td>{kind}{}<td>{mode}", Text(&held.lock.name))?;
            write!(f, "<td>run <a href=\"/v1/runs/{0}{1}\">{0}</a> of {2}", held.run, self.of, Text(&held.task))?;
            write!(f, "<td>{}</tr>", self.age(held.since))?;
        }
        f.write_str("</table>")
    }
}

/// Prints a state in its colour.
struct Coloured(RunState);

impl Display for Coloured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<span class=\"{0}\">{0}</span>", self.0)
    }
}

/// Formats an instant as `2026-11-22 10:24:53 UTC`.
fn second(at: Timestamp) -> String {
    at.to_utc().format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// Escapes text for elements and quoted attributes. Everything except numbers is printed through this type.
struct Text<T>(T);

impl<T: Display> Display for Text<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Escape(f), "{}", self.0)
    }
}

struct Escape<'a, 'b>(&'a mut fmt::Formatter<'b>);

impl Write for Escape<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.chars().try_for_each(|c| match c {
            '&' => self.0.write_str("&amp;"),
            '<' => self.0.write_str("&lt;"),
            '>' => self.0.write_str("&gt;"),
            '"' => self.0.write_str("&quot;"),
            '\'' => self.0.write_str("&#39;"),
            // Control characters, and those that change the reading direction of the following text.
            c if c.is_control() && c != '\n' && c != '\t' => self.0.write_char('\u{fffd}'),
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => self.0.write_char('\u{fffd}'),
            c => self.0.write_char(c),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Text;

    #[test]
    fn text_of_a_guest_becomes_no_markup() {
        let attack = "<script>alert('x')</script>\" onclick=\"&\u{1b}[2J\u{202e}";
        assert_eq!(
            Text(attack).to_string(),
            "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&quot; onclick=&quot;&amp;\u{fffd}[2J\u{fffd}"
        );
    }
}
