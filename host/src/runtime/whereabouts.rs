//! Where a run that is still going is: its stack a few times, some time apart, and what that means.
//!
//! One stack does not tell a guest that hangs from one that is slow. Several do: one that spins is always in the same
//! function, one that is merely slow is not, and one that waits says for what and since when.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::attempt::stack::{Place, Stack};
use crate::attempt::{Doing, Looking, RunHandle, Sample, Taken, TooManyWatch};

use super::author::is_authors_place;

/// How long a guest that computes may take to come by where its stack can be taken. One that takes longer has no turn: a
/// hundred guests that spin on one processor get theirs ten times in that time.
const PATIENCE: Duration = Duration::from_millis(500);

/// How long a call that does not say that it waits may take before it counts as a wait.
const SHORT_CALL: Duration = Duration::from_millis(5);

/// Where a run is.
#[derive(Clone, Debug)]
pub struct Whereabouts {
    /// What the samples mean.
    pub verdict: Verdict,
    /// What was seen, in the order of time. Empty if the run was over before anything was.
    pub samples: Vec<Seen>,
}

/// What was seen of a run at one moment.
#[derive(Clone, Debug)]
pub struct Seen {
    /// How old the attempt was.
    pub age: Duration,
    /// What its guest did.
    pub doing: Doing,
    /// Units of fuel it had used.
    pub fuel: u64,
    /// Processor time it had used.
    pub guest: Duration,
    /// `function (file:line)`, innermost first; empty if its stack could not be taken.
    pub stack: Vec<String>,
}

/// What is to be thought of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It computes, always in this function.
    Spins(String),
    /// It goes on, here and there.
    Slow(String),
    /// It waits.
    Waits(String),
    /// It gets no processor.
    Queued(String),
    /// It ended while it was looked at.
    Over,
}

impl Verdict {
    /// The word for it, the same everywhere.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Spins(_) => "spins",
            Self::Slow(_) => "slow",
            Self::Waits(_) => "waits",
            Self::Queued(_) => "queued",
            Self::Over => "over",
        }
    }

    /// The whole of it, on one line. It quotes the guest.
    pub fn words(&self) -> &str {
        match self {
            Self::Spins(words) | Self::Slow(words) | Self::Waits(words) | Self::Queued(words) => words,
            Self::Over => "it is over",
        }
    }
}

impl RunHandle {
    /// Look at the guest so many times, at least so far `apart`.
    ///
    /// # Errors
    ///
    /// [`TooManyWatch`] if too many look at it already.
    pub async fn whereabouts(&self, samples: usize, apart: Duration) -> Result<Whereabouts, TooManyWatch> {
        let look = self.sampler.look(None, samples)?;
        for n in 0..samples {
            if n > 0 {
                tokio::time::sleep(apart).await;
            }
            if self.sampler.is_over() {
                break;
            }
            self.sample(&look).await;
        }
        let taken = look.taken();
        let places = self.places(&taken).await;
        let samples = taken.samples.iter().map(|sample| self.seen(sample, &places)).collect();
        Ok(Whereabouts { verdict: verdict(&taken, &places), samples })
    }

    async fn sample(&self, look: &Looking<'_>) {
        if let Some((doing, stack)) = self.resting(SHORT_CALL) {
            return look.put(doing, self.used(), &stack);
        }
        if look.ask(PATIENCE).await || self.sampler.is_over() {
            return;
        }
        let (doing, stack) = self.resting(Duration::ZERO).unwrap_or((Doing::Queued, Stack::default()));
        look.put(doing, self.used(), &stack);
    }

    /// The host call that the guest waits in, and its stack there, if it was taken. A call that does not say that it waits
    /// counts if it takes longer than `short`.
    pub(super) fn resting(&self, short: Duration) -> Option<(Doing, Stack)> {
        let waiting = self.usage.snapshot().waiting;
        let (since, stack) = self.sampler.resting()?;
        let doing = match waiting {
            Some(waiting) => Doing::Waiting { call: Some(waiting.call), what: waiting.what, since: waiting.since },
            None if since.elapsed() < short => return None,
            None => Doing::Waiting { call: None, what: None, since },
        };
        Some((doing, stack))
    }

    /// Fuel and processor time up to now.
    pub(super) fn used(&self) -> (u64, Duration) {
        let usage = self.usage.snapshot();
        (usage.fuel, usage.guest)
    }

    /// Where all frames of `taken` are. Found on a thread for what takes its time.
    pub(super) async fn places(&self, taken: &Taken) -> Vec<Vec<Place>> {
        let Some((symbolizer, digest)) = self.sampler.symbolizer() else { return Vec::new() };
        let frames = taken.frames.clone();
        let found = tokio::task::spawn_blocking(move || symbolizer.places(&digest, &frames)).await;
        // What reads the guest's debug information may give up on it, but then nothing of it is known at all.
        found.unwrap_or_else(|_| vec![Vec::new(); taken.frames.len()])
    }

    fn seen(&self, sample: &Sample, places: &[Vec<Place>]) -> Seen {
        let stack = sample.stack.iter().flat_map(|frame| &places[*frame as usize]).map(Place::to_string).collect();
        Seen {
            age: sample.at.saturating_duration_since(self.started),
            doing: sample.doing.clone(),
            fuel: sample.fuel,
            guest: sample.guest,
            stack,
        }
    }
}

/// The place of a frame's own function: what was inlined into it comes before.
fn own(places: &[Place]) -> Option<&Place> {
    places.last()
}

/// The innermost place of a frame that is the author's: an author's function is often inlined into one that a macro made.
/// A closure has no name that tells it from others, so the function that it is written in goes before it.
fn authors(places: &[Place]) -> Option<&Place> {
    let mut own = places.iter().filter(|place| is_authors_place(place)).peekable();
    let innermost = own.peek().copied();
    own.find(|place| !place.function.starts_with("{closure")).or(innermost)
}

/// Where a guest computes.
struct Spot<'a> {
    /// The function that tells one spot from another: the innermost, the author's where it has one of those inlined.
    function: &'a Place,
    /// What is told of it: the innermost function of the author's on the whole stack.
    told: &'a Place,
}

impl<'a> Spot<'a> {
    fn of(stack: &[u32], places: &'a [Vec<Place>]) -> Option<Self> {
        let first = &places[*stack.first()? as usize];
        let function = authors(first).or(own(first))?;
        let told = stack.iter().find_map(|frame| authors(&places[*frame as usize])).unwrap_or(function);
        Some(Self { function, told })
    }

    fn is(&self, other: &Self) -> bool {
        self.function.function == other.function.function && self.told.function == other.told.function
    }

    /// `function` (file:line), and where that is a function of others which the author's calls, its name.
    fn words(&self) -> String {
        if self.told.function == self.function.function {
            return quoted(self.told);
        }
        format!("{}, in a call of `{}`", quoted(self.told), self.function.function)
    }
}

fn verdict(taken: &Taken, places: &[Vec<Place>]) -> Verdict {
    let (Some(first), Some(last)) = (taken.samples.first(), taken.samples.last()) else { return Verdict::Over };
    if let Doing::Waiting { since, .. } = &last.doing
        && taken.samples.iter().all(|sample| sample.doing == last.doing)
    {
        let name = has_been_waiting_in(&last.doing);
        return Verdict::Waits(format!("{name} for {}", seconds(last.at.saturating_duration_since(*since))));
    }
    if taken.samples.iter().all(|sample| sample.doing == Doing::Queued) {
        return Verdict::Queued("queued, no turn on a processor".to_owned());
    }
    let computing: Vec<Option<Spot<'_>>> = taken
        .samples
        .iter()
        .map(|sample| Spot::of(&sample.stack, places).filter(|_| sample.doing == Doing::Computing))
        .collect();
    if let Some(Some(here)) = computing.last()
        && computing.iter().all(|spot| spot.as_ref().is_some_and(|spot| spot.is(here)))
    {
        // Compilers make instructions that are of no line; another sample may have been at one that is.
        let with_line = computing.iter().rev().flatten().find(|spot| spot.told.line.is_some());
        let words = with_line.unwrap_or(here).words();
        // One look tells where it is, and not how long it has been there.
        return if computing.len() > 1 && last.fuel > first.fuel {
            Verdict::Spins(format!("spins in {words}"))
        } else {
            Verdict::Slow(format!("computes in {words}"))
        };
    }
    slow(taken, places)
}

/// Of a guest that was seen in several places: which, and what they are all within.
fn slow(taken: &Taken, places: &[Vec<Place>]) -> Verdict {
    let mut seen = BTreeSet::new();
    for sample in &taken.samples {
        seen.insert(match &sample.doing {
            Doing::Waiting { .. } => waits_in(&sample.doing),
            Doing::Queued => "queued".to_owned(),
            Doing::Computing => Spot::of(&sample.stack, places)
                .map_or("somewhere".to_owned(), |spot| format!("`{}`", spot.function.function)),
        });
    }
    let seen: Vec<String> = seen.into_iter().collect();
    let within = within(taken, places).map(|place| format!(", all within {}", quoted(&place))).unwrap_or_default();
    Verdict::Slow(format!("slow: busy in different places ({}){within}", seen.join(", ")))
}

/// The innermost function that all stacks have in common, counted from the outermost; the author's, if there is one.
fn within(taken: &Taken, places: &[Vec<Place>]) -> Option<Place> {
    let outermost = |stack: &[u32]| -> Vec<Place> {
        stack.iter().rev().flat_map(|frame| places[*frame as usize].iter().rev()).cloned().collect()
    };
    let mut stacks = taken.samples.iter().filter(|sample| !sample.stack.is_empty()).map(|s| outermost(&s.stack));
    let mut common = stacks.next()?;
    for stack in stacks {
        let same = common.iter().zip(&stack).take_while(|(a, b)| a.function == b.function).count();
        common.truncate(same);
    }
    let own = common.iter().rposition(is_authors_place).unwrap_or(common.len().saturating_sub(1));
    common.truncate(own + 1);
    common.pop()
}

/// `waits in X for Y`.
pub(super) fn waits_in(doing: &Doing) -> String {
    waiting(doing).map(|(call, what)| format!("waits in {call}{what}")).unwrap_or_default()
}

/// `has been waiting in X for Y`, to be followed by a length of time.
fn has_been_waiting_in(doing: &Doing) -> String {
    waiting(doing).map(|(call, what)| format!("has been waiting in {call}{what}")).unwrap_or_default()
}

/// The host call that a guest waits in, and what for.
fn waiting(doing: &Doing) -> Option<(String, String)> {
    let Doing::Waiting { call, what, .. } = doing else { return None };
    let call = call.map_or("a host call".to_owned(), |call| format!("`{call}`"));
    let what = what.as_deref().map(|what| format!(" for `{what}`")).unwrap_or_default();
    Some((call, what))
}

/// `function` (file:line).
fn quoted(place: &Place) -> String {
    let Place { function, file, line } = place;
    match (file, line) {
        (Some(file), Some(line)) => format!("`{function}` ({file}:{line})"),
        _ => format!("`{function}`"),
    }
}

fn seconds(time: Duration) -> String {
    format!("{:.1}s", time.as_secs_f64())
}

#[cfg(test)]
mod tests;
