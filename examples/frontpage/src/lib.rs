//! Makes a page every 10 s from ten remote systems whose answers take a second or hours.
//!
//! Each remote is one section: a cache entry that one run at a time renews, while all others take the last good value.
//! Up to 3 runs overlap, and the page stays current although remotes hang. The last step, the page, is taken under a
//! lock, so that no page overtakes a newer one. The README.md beside this crate explains why.

mod page;
mod settings;

use std::time::{Instant, SystemTime};

use serde::{Deserialize, Serialize};
use sexton_task::http::{self, Pending};
use sexton_task::locks::{self, Guard};
use sexton_task::{Begun, Failure, Output, Renewal, cache, lock, log, section};

use page::{Card, page};
use settings::Settings;

sexton_task::task!(run);

/// The number of runs that may be patient at once: one less than may overlap, so that a quick run always has a slot.
const PATIENT: u32 = 2;

/// The answer of a remote.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct News {
    title: String,
    text: String,
    /// The number of answers that the remote has given.
    served: u64,
}

/// A remote that this run has asked.
struct Asked {
    remote: usize,
    renewal: Renewal<News>,
    pending: Pending,
}

fn run() -> Result<Output, Failure> {
    let settings = Settings::read()?;
    let start = Instant::now();
    let mut notes = vec![None; settings.count];

    let mut asked = ask(&settings, &mut notes)?;
    collect(&mut asked, start + settings.quick, &mut notes)?;
    if !asked.is_empty()
        && let Some(_place) = patient_place()?
    {
        log::info!("waiting for {} slow remotes", asked.len());
        collect(&mut asked, start + settings.patient, &mut notes)?;
    }
    for Asked { remote, renewal, .. } in asked {
        log::warn!("remote {} did not answer in time", remote + 1);
        renewal.fail("no answer in time");
        notes[remote] = Some("no answer in time".to_owned());
    }

    // One run at a time takes the last step. The lock is kept until this page is the result, so a page that was made
    // from older values never takes the place of one that was made from newer ones.
    let turn = lock("frontpage/page").wait(settings.turn).acquire()?;
    let edition = turn.fence();
    turn.keep();
    // The sections are read again, because a patient run must not publish what it knew when it began.
    let cards = (0..settings.count).zip(notes).map(|(remote, note)| card(remote, note, &settings));
    Ok(Output::html(page(&cards.collect::<Result<Vec<_>, _>>()?, edition, SystemTime::now())))
}

/// Returns the cache key of a remote's section.
fn key(remote: usize) -> String {
    format!("frontpage/{}", remote + 1)
}

/// Sends a request to every remote whose section this run must renew, without waiting.
fn ask(settings: &Settings, notes: &mut [Option<String>]) -> Result<Vec<Asked>, Failure> {
    let mut asked = Vec::new();
    for (remote, note) in notes.iter_mut().enumerate() {
        match section(&key(remote)).max_age(settings.max_age).begin()? {
            Begun::Done(section) if section.state == sexton_task::State::Held => {
                *note = Some("another run is asking".to_owned());
            }
            Begun::Done(_) => {}
            Begun::Yours(renewal) => {
                let url = format!("{}/{}", settings.remotes, remote + 1);
                match http::get(&url).max_body(64 << 10).start() {
                    Ok(pending) => asked.push(Asked { remote, renewal, pending }),
                    Err(error) => *note = failed(remote, renewal, &error),
                }
            }
        }
    }
    Ok(asked)
}

/// Publishes each answer as it comes, until all have come or it is `until`. Remotes that have not answered stay in
/// `asked`.
fn collect(asked: &mut Vec<Asked>, until: Instant, notes: &mut [Option<String>]) -> Result<(), Failure> {
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let Some(done) = http::wait_any(asked.iter_mut().map(|asked| &mut asked.pending), left) else { return Ok(()) };
        let Asked { remote, renewal, pending } = asked.swap_remove(done);
        notes[remote] = match pending.finish().and_then(|response| response.ok()?.json()) {
            Ok(news) => published(remote, renewal, news)?,
            Err(error) => failed(remote, renewal, &error),
        };
    }
}

fn published(remote: usize, renewal: Renewal<News>, news: News) -> Result<Option<String>, Failure> {
    match renewal.publish(news) {
        Ok(_) => Ok(None),
        // The host gave the renewal to another run, which will publish a newer value.
        Err(cache::Error::Conflict) => {
            log::warn!("remote {} was renewed by another run first", remote + 1);
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

fn failed(remote: usize, renewal: Renewal<News>, error: &http::Error) -> Option<String> {
    log::warn!("remote {}: {error}", remote + 1);
    renewal.fail(error);
    Some(error.to_string())
}

/// Takes a place among the patient runs, if one is free.
fn patient_place() -> Result<Option<Guard>, Failure> {
    for place in 1..=PATIENT {
        match lock(&format!("frontpage/patient-{place}")).acquire() {
            Ok(guard) => return Ok(Some(guard)),
            Err(locks::Error::Held) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(None)
}

fn card(remote: usize, note: Option<String>, settings: &Settings) -> Result<Card, Failure> {
    let section = section(&key(remote)).get::<News>()?;
    let current = section.age.is_some_and(|age| age < settings.current);
    Ok(Card { remote: remote + 1, news: section.value, age: section.age, current, note })
}
