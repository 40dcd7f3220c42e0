//! Lists the operations of the API. A test compares them with the routes of the router.

use super::operations::Operation;
use crate::http::api_types::attempts::LogEvent;
use crate::http::api_types::backfills::{BackfillCancelled, BackfillShape};
use crate::http::api_types::batches::{Batch, RunRequest};
use crate::http::api_types::cache::{Entries, EntryDeleted, EntryHistoryShape, EntryWritten};
use crate::http::api_types::events::{EventShape, StreamNotice};
use crate::http::api_types::following::Chains;
use crate::http::api_types::host::{Health, Host};
use crate::http::api_types::hosts::{HostShape, Hosts};
use crate::http::api_types::live::{Live, Stack};
use crate::http::api_types::locks::{LockGraph, Locks};
use crate::http::api_types::pauses::{Paused, PausedMany};
use crate::http::api_types::plugins::Plugins;
use crate::http::api_types::runs::{Killed, ReleasedRun, RunDetail, Runs, Triggered};
use crate::http::api_types::schedule::Explained;
use crate::http::api_types::schedules::{AddedSchedules, ScheduleChanged, ScheduleRequest, ScheduleShape};
use crate::http::api_types::tenants::Tenants;
use crate::http::api_types::{TaskDetail, Tasks};
use crate::http::{
    backfills, cache, cursor, events, filter, live, log, pauses, result, runs, schedule, schedules, tasks,
};

/// The content type of bytes that a guest or a client has made.
const ANY: &str = "*/*";

/// The header by which a client says which content it has.
const IF_NONE_MATCH: (&str, &str) = ("If-None-Match", "The `ETag` of the content that the client has.");

/// The body of `POST /v1/runs`, whose items the handler reads one by one.
#[derive(serde::Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only its shape is of interest")]
struct BatchRequest {
    /// 1 to 1000 runs, of any tasks.
    #[schema(min_items = 1, max_items = 1000)]
    runs: Vec<RunRequest>,
}

/// A line of the stream of events.
#[derive(serde::Serialize, utoipa::ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its shape is of interest")]
enum StreamLine {
    Event(EventShape),
    Notice(StreamNotice),
}

/// Returns all operations, by path.
pub(super) fn all() -> Vec<Operation> {
    [of_host(), of_tasks(), of_runs(), of_what_runs_say(), of_schedules(), of_cache()].into_iter().flatten().collect()
}

fn of_host() -> Vec<Operation> {
    use Operation as Op;
    let health = |path, id| {
        Op::get(path, id, "Tells whether the store answers and no part of the host is down")
            .of_whole_host()
            .answer::<Health>(200)
            .answer::<Health>(503)
    };
    vec![
        Op::get("/openapi.json", "document", "Returns this document").bytes("application/json", "OpenAPI 3.1"),
        health("/livez", "livez"),
        health("/v1/health", "health"),
        Op::get("/v1/host", "host", "Describes the host").of_whole_host().answer::<Host>(200),
        Op::get("/v1/hosts", "listHosts", "Lists the hosts of the store").of_whole_host().answer::<Hosts>(200),
        Op::post("/v1/hosts/{host}/drain", "drainHost", "Stops a host from taking runs")
            .of_whole_host()
            .answer::<HostShape>(200),
        Op::post("/v1/hosts/{host}/undrain", "undrainHost", "Lets a host take runs again")
            .of_whole_host()
            .answer::<HostShape>(200),
        Op::get("/v1/plugins", "listPlugins", "Lists plugins").query::<cursor::PageQuery>().answer::<Plugins>(200),
        Op::get("/v1/locks", "listLocks", "Lists the locks that are held").answer::<Locks>(200),
        Op::get("/v1/locks/graph", "lockGraph", "Shows which runs wait for which").answer::<LockGraph>(200),
        Op::get("/v1/events", "followEvents", "Streams events as they happen, as server-sent events or as JSON lines")
            .query::<events::EventsQuery>()
            .header("Last-Event-ID", "The id of the last event that the client has; it goes before `after`.")
            .lines::<StreamLine>(),
        Op::get("/v1/live", "listLive", "Lists the attempts in progress on this host").answer::<Live>(200),
        Op::get("/v1/tenants", "listTenants", "Lists tenants").of_whole_host().answer::<Tenants>(200),
        Op::post("/v1/tenants/{tenant}/pause", "pauseTenant", "Pauses all tasks of a tenant")
            .of_whole_host()
            .query::<pauses::PauseQuery>()
            .answer::<PausedMany>(200),
        Op::post("/v1/tenants/{tenant}/resume", "resumeTenant", "Ends the pause of a tenant")
            .of_whole_host()
            .answer::<PausedMany>(200),
        Op::post("/v1/pause", "pauseAll", "Pauses all tasks")
            .of_whole_host()
            .query::<pauses::PauseQuery>()
            .answer::<PausedMany>(200),
        Op::post("/v1/resume", "resumeAll", "Ends the pause of all tasks").of_whole_host().answer::<PausedMany>(200),
    ]
}

fn of_tasks() -> Vec<Operation> {
    use Operation as Op;
    vec![
        Op::get("/v1/chains", "listChains", "Lists chains").answer::<Chains>(200),
        Op::get("/v1/tasks", "listTasks", "Lists tasks").query::<tasks::TasksQuery>().labels().answer::<Tasks>(200),
        Op::get("/v1/tasks/{task}", "showTask", "Shows a task").query::<tasks::ShowQuery>().answer::<TaskDetail>(200),
        Op::post("/v1/tasks/{task}/runs", "trigger", "Makes a run of a task")
            .query::<tasks::TriggerQuery>()
            .labels()
            .any_body()
            .answer::<Triggered>(202)
            .answer::<Triggered>(200),
        Op::post("/v1/tasks/{task}/backfill", "backfill", "Makes runs for instants that have passed")
            .query::<backfills::BackfillQuery>()
            .answer::<BackfillShape>(202)
            .answer::<BackfillShape>(200),
        Op::delete("/v1/tasks/{task}/backfill", "cancelBackfill", "Cancels runs of backfills that have not begun")
            .answer::<BackfillCancelled>(200),
        Op::post("/v1/tasks/{task}/pause", "pauseTask", "Pauses a task or a chain")
            .query::<pauses::PauseQuery>()
            .answer::<Paused>(200),
        Op::post("/v1/tasks/{task}/resume", "resumeTask", "Ends the pause of a task or a chain").answer::<Paused>(200),
        Op::get("/v1/tasks/{task}/result", "taskResult", "Returns the output of the run that was the last to succeed")
            .query::<result::ResultQuery>()
            .header(IF_NONE_MATCH.0, IF_NONE_MATCH.1)
            .bytes(ANY, "The output, under the content type that the guest named")
            .empty(304, "The client has it"),
    ]
}

fn of_runs() -> Vec<Operation> {
    use Operation as Op;
    vec![
        Op::get("/v1/runs", "listRuns", "Lists runs, newest first")
            .query::<filter::ListQuery>()
            .labels()
            .answer::<Runs>(200),
        Op::post("/v1/runs", "triggerMany", "Makes many runs").body::<BatchRequest>().answer::<Batch>(200),
        Op::get("/v1/runs/{run}", "showRun", "Shows a run with its attempts").answer::<RunDetail>(200),
        Op::get("/v1/runs/{run}/wait", "waitForRun", "Answers when a run is over, or after a time")
            .query::<runs::WaitQuery>()
            .answer::<RunDetail>(200),
        Op::post("/v1/runs/{run}/kill", "killRun", "Ends a run")
            .query::<runs::KillQuery>()
            .answer::<Killed>(200)
            .answer::<Killed>(202),
        Op::post("/v1/runs/{run}/release", "releaseRun", "Lets a run start that is suspected of killing its host")
            .answer::<ReleasedRun>(200),
        Op::post("/v1/runs/{run}/rerun", "rerun", "Repeats a run that is over")
            .query::<runs::RerunQuery>()
            .any_body()
            .answer::<Triggered>(202)
            .answer::<Triggered>(200),
    ]
}

fn of_what_runs_say() -> Vec<Operation> {
    use Operation as Op;
    vec![
        Op::get("/v1/runs/{run}/log", "runLog", "Returns the log of a run")
            .query::<log::LogQuery>()
            .lines::<LogEvent>(),
        Op::get("/v1/runs/{run}/stack", "runStack", "Shows where a run in progress is")
            .query::<live::StackQuery>()
            .answer::<Stack>(200),
        Op::get("/v1/runs/{run}/profile", "runProfile", "Profiles a run in progress")
            .query::<live::ProfileQuery>()
            .bytes("application/json", "A profile for the Firefox Profiler"),
        Op::get("/v1/runs/{run}/input", "runInput", "Returns the input of a run").bytes(ANY, "The input"),
        Op::get("/v1/runs/{run}/output", "runOutput", "Returns the output of a run")
            .header(IF_NONE_MATCH.0, IF_NONE_MATCH.1)
            .bytes(ANY, "The output, under the content type that the guest named")
            .empty(304, "The client has it"),
    ]
}

fn of_schedules() -> Vec<Operation> {
    use Operation as Op;
    vec![
        Op::get("/v1/schedule/explain", "explainSchedule", "Explains a schedule")
            .query::<schedule::ExplainQuery>()
            .answer::<Explained>(200),
        Op::get("/v1/schedules", "listSchedules", "Lists added schedules")
            .query::<schedules::ListQuery>()
            .answer::<AddedSchedules>(200),
        Op::post("/v1/schedules", "addSchedule", "Adds a schedule")
            .body::<ScheduleRequest>()
            .answer::<ScheduleChanged>(201)
            .answer::<ScheduleChanged>(200),
        Op::get("/v1/schedules/{key}", "showSchedule", "Shows an added schedule").answer::<ScheduleShape>(200),
        Op::put("/v1/schedules/{key}", "putSchedule", "Adds a schedule with this key")
            .body::<ScheduleRequest>()
            .answer::<ScheduleChanged>(201)
            .answer::<ScheduleChanged>(200),
        Op::delete("/v1/schedules/{key}", "deleteSchedule", "Deletes an added schedule")
            .query::<schedules::DeleteQuery>()
            .answer::<ScheduleChanged>(200),
        Op::post("/v1/schedules/{key}/reset", "resetSchedule", "Lets a schedule go on from now")
            .answer::<ScheduleChanged>(200),
    ]
}

fn of_cache() -> Vec<Operation> {
    use Operation as Op;
    vec![
        Op::get("/v1/cache", "listEntries", "Lists cache entries").query::<cache::ListQuery>().answer::<Entries>(200),
        Op::get("/v1/cache/{*key}", "readEntry", "Returns the value of a cache entry")
            .query::<cache::ReadQuery>()
            .header(IF_NONE_MATCH.0, IF_NONE_MATCH.1)
            .bytes(ANY, "The value")
            .empty(304, "The client has it"),
        Op::put("/v1/cache/{*key}", "writeEntry", "Writes a cache entry")
            .query::<cache::WriteQuery>()
            .header("If-Match", "The version that the entry must have, in quotes.")
            .header("If-None-Match", "`*`: there must be no entry.")
            .any_body()
            .answer::<EntryWritten>(200),
        Op::delete("/v1/cache/{*key}", "deleteEntry", "Deletes a cache entry").answer::<EntryDeleted>(200),
        Op::get("/v1/cache-history/{*key}", "entryHistory", "Lists the kept versions of a cache entry")
            .answer::<EntryHistoryShape>(200),
        Op::post("/v1/cache-restore/{*key}", "restoreEntry", "Writes an earlier version of a cache entry again")
            .query::<cache::RestoreQuery>()
            .answer::<EntryWritten>(200),
    ]
}
