//! Ten remote systems on one loopback port, at `/1` to `/10`, each of which can be slow, fail or hang.
//!
//! Without `--seed` each answers at once. With it, each draws from the seed how to take every single request. Either
//! way, `POST /control/3 {"mode": "hang"}` settles what remote 3 does from now on, and `GET /control` tells of all.

mod behaviour;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use behaviour::Behaviour;
use clap::Parser;
use serde_json::{Value, json};

const TITLES: [&str; 10] =
    ["Tides", "Trains", "Weather", "Orders", "Stock", "Currency", "Traffic", "Ferries", "Power grid", "Library"];

/// Ten remote systems to try the front page with.
#[derive(Debug, Parser)]
struct Args {
    /// Address to listen on; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:7400")]
    listen: SocketAddr,
    /// Be slow, fail and hang now and then, as drawn from this number
    #[arg(long)]
    seed: Option<u64>,
}

/// One remote system.
#[derive(Debug)]
struct Remote {
    behaviour: Mutex<Behaviour>,
    asked: AtomicU64,
    served: AtomicU64,
    open: AtomicU64,
    most_open: AtomicU64,
}

type Remotes = Arc<Vec<Remote>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let listener =
        tokio::net::TcpListener::bind(args.listen).await.with_context(|| format!("listening on `{}`", args.listen))?;
    println!("remotes listen on http://{}", listener.local_addr()?);

    let behaviour = args.seed.map_or_else(Behaviour::default, |seed| Behaviour::Drawn { seed });
    let remotes: Remotes = Arc::new(TITLES.iter().map(|_| Remote::new(behaviour)).collect());
    let routes = Router::new()
        .route("/{remote}", get(answer))
        .route("/control", get(status))
        .route("/control/{remote}", post(control))
        .with_state(remotes);
    axum::serve(listener, routes).await?;
    Ok(())
}

impl Remote {
    fn new(behaviour: Behaviour) -> Self {
        Self {
            behaviour: Mutex::new(behaviour),
            asked: AtomicU64::new(0),
            served: AtomicU64::new(0),
            open: AtomicU64::new(0),
            most_open: AtomicU64::new(0),
        }
    }

    fn behaviour(&self) -> Behaviour {
        *self.behaviour.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts a request as open until it is answered, or its client has gone.
struct Open<'a>(&'a Remote);

impl<'a> Open<'a> {
    fn new(remote: &'a Remote) -> Self {
        let open = remote.open.fetch_add(1, Relaxed) + 1;
        remote.most_open.fetch_max(open, Relaxed);
        Self(remote)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Relaxed);
    }
}

async fn answer(State(remotes): State<Remotes>, Path(number): Path<usize>) -> Result<Json<Value>, StatusCode> {
    let (index, remote) = find(&remotes, number)?;
    let _open = Open::new(remote);
    let request = remote.asked.fetch_add(1, Relaxed);

    remote.behaviour().take(number, request).await?;

    let served = remote.served.fetch_add(1, Relaxed) + 1;
    let text = format!("answer {served}, level {}", (number as u64 * 37 + served * 13) % 100);
    Ok(Json(json!({ "title": TITLES[index], "text": text, "served": served })))
}

async fn control(
    State(remotes): State<Remotes>,
    Path(number): Path<usize>,
    Json(behaviour): Json<Behaviour>,
) -> Result<StatusCode, StatusCode> {
    let (_, remote) = find(&remotes, number)?;
    *remote.behaviour.lock().unwrap_or_else(PoisonError::into_inner) = behaviour;
    Ok(StatusCode::NO_CONTENT)
}

async fn status(State(remotes): State<Remotes>) -> Json<Value> {
    let remotes = remotes.iter().zip(1..).map(|(remote, number)| {
        json!({
            "remote": number,
            "behaviour": remote.behaviour(),
            "asked": remote.asked.load(Relaxed),
            "served": remote.served.load(Relaxed),
            "open": remote.open.load(Relaxed),
            "most-open": remote.most_open.load(Relaxed),
        })
    });
    Json(remotes.collect())
}

/// Returns remote `number` (from 1), and its index (from 0).
fn find(remotes: &[Remote], number: usize) -> Result<(usize, &Remote), StatusCode> {
    let index = number.checked_sub(1).ok_or(StatusCode::NOT_FOUND)?;
    remotes.get(index).map(|remote| (index, remote)).ok_or(StatusCode::NOT_FOUND)
}
