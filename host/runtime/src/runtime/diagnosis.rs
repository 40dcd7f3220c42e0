//! Finds where a run that is still going spends its time: takes its stack a few times, some time apart, and judges the
//! samples.
//!
//! One stack does not tell a guest that hangs from a slow one. Several do: a guest that spins is always in the same
//! function, a slow one is not, and a waiting one shows what it waits for and since when.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::attempt::stack::{Place, Stack};
use crate::attempt::{Activity, Observation, RunHandle, Sample, Samples, TooManyObservers};

use super::author::is_authors_place;

/// The longest time that a computing guest takes to reach a point where its stack can be taken. A guest that takes
/// longer has no turn: a hundred guests that spin on one processor get theirs ten times in that time.
const PATIENCE: Duration = Duration::from_millis(500);

/// Duration from which a call that does not announce its wait counts as one.
const SHORT_CALL: Duration = Duration::from_millis(5);

/// Samples of a run, and their meaning.
#[derive(Clone, Debug)]
pub struct Diagnosis {
    /// The meaning of the samples.
    pub verdict: Verdict,
    /// The samples in order of time. Empty if the run ended before the first one.
    pub samples: Vec<SampleInfo>,
}

/// One sample of a run.
#[derive(Clone, Debug)]
pub struct SampleInfo {
    /// Age of the attempt.
    pub age: Duration,
    /// State of the guest.
    pub doing: Activity,
    /// Units of fuel used so far.
    pub fuel: u64,
    /// Processor time used so far.
    pub guest: Duration,
    /// `function (file:line)`, innermost first; empty if the stack could not be taken.
    pub stack: Vec<String>,
}

/// The meaning of a run's samples.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It computes, always in this function.
    Spins(String),
    /// It goes on, in several places.
    Slow(String),
    /// It waits.
    Waits(String),
    /// It gets no processor.
    Queued(String),
    /// It ended while it was watched.
    Over,
}

impl Verdict {
    /// Returns the verdict as one word, the same everywhere.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Spins(_) => "spins",
            Self::Slow(_) => "slow",
            Self::Waits(_) => "waits",
            Self::Queued(_) => "queued",
            Self::Over => "over",
        }
    }

    /// Returns the whole verdict on one line. It quotes the guest.
    pub fn words(&self) -> &str {
        match self {
            Self::Spins(words) | Self::Slow(words) | Self::Waits(words) | Self::Queued(words) => words,
            Self::Over => "it is over",
        }
    }
}

impl RunHandle {
    /// Takes `samples` samples of the guest, at least `apart` from each other.
    ///
    /// # Errors
    ///
    /// [`TooManyObservers`] if too many watch the guest already.
    pub async fn whereabouts(&self, samples: usize, apart: Duration) -> Result<Diagnosis, TooManyObservers> {
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
        Ok(Diagnosis { verdict: verdict(&taken, &places), samples })
    }

    async fn sample(&self, look: &Observation<'_>) {
        if let Some((doing, stack)) = self.waiting_call(SHORT_CALL) {
            return look.put(doing, self.used(), &stack);
        }
        if look.ask(PATIENCE).await || self.sampler.is_over() {
            return;
        }
        let (doing, stack) = self.waiting_call(Duration::ZERO).unwrap_or((Activity::Queued, Stack::default()));
        look.put(doing, self.used(), &stack);
    }

    /// Returns the host call in which the guest waits, and its stack there, if it was taken. A call that does not
    /// announce its wait counts if it takes longer than `short`.
    pub(super) fn waiting_call(&self, short: Duration) -> Option<(Activity, Stack)> {
        let waiting = self.usage.snapshot().waiting;
        // The host waits for the lock of a task before there is a guest, and so without a stack.
        let before_the_guest = || waiting.is_some() && self.sampler.symbolizer().is_none();
        let (since, stack) = match self.sampler.current_wait() {
            Some(resting) => resting,
            None if before_the_guest() => (Instant::now(), Stack::default()),
            None => return None,
        };
        let doing = match waiting {
            Some(waiting) => Activity::Waiting { call: Some(waiting.call), what: waiting.what, since: waiting.since },
            None if since.elapsed() < short => return None,
            None => Activity::Waiting { call: None, what: None, since },
        };
        Some((doing, stack))
    }

    /// Returns the fuel and processor time used up to now.
    pub(super) fn used(&self) -> (u64, Duration) {
        let usage = self.usage.snapshot();
        (usage.fuel, usage.guest)
    }

    /// Finds the places of all frames of `taken`, on a blocking thread.
    pub(super) async fn places(&self, taken: &Samples) -> Vec<Vec<Place>> {
        let Some((symbolizer, digest)) = self.sampler.symbolizer() else { return Vec::new() };
        let frames = taken.frames.clone();
        let found = tokio::task::spawn_blocking(move || symbolizer.places(&digest, &frames)).await;
        // A panic while the guest's debug information is read leaves all places unknown.
        found.unwrap_or_else(|_| vec![Vec::new(); taken.frames.len()])
    }

    fn seen(&self, sample: &Sample, places: &[Vec<Place>]) -> SampleInfo {
        let stack = sample.stack.iter().flat_map(|frame| &places[*frame as usize]).map(Place::to_string).collect();
        SampleInfo {
            age: sample.at.saturating_duration_since(self.started),
            doing: sample.doing.clone(),
            fuel: sample.fuel,
            guest: sample.guest,
            stack,
        }
    }
}

/// Returns the place of a frame's own function, after those of the functions inlined into it.
fn own(places: &[Place]) -> Option<&Place> {
    places.last()
}

/// Returns the innermost place of a frame that is the author's, because an author's function is often inlined into one
/// that a macro made. A closure's name does not tell it from others, so the function that contains it is preferred.
fn authors(places: &[Place]) -> Option<&Place> {
    let mut own = places.iter().filter(|place| is_authors_place(place)).peekable();
    let innermost = own.peek().copied();
    own.find(|place| !place.function.starts_with("{closure")).or(innermost)
}

/// A place where a guest computes.
struct Spot<'a> {
    /// The function that tells one spot from another: the innermost, or the author's that is inlined into it.
    function: &'a Place,
    /// The place to name: the author's innermost function on the whole stack.
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

    /// Returns `function` (file:line), and if the author's function calls one of others there, that one's name.
    fn words(&self) -> String {
        if self.told.function == self.function.function {
            return quoted(self.told);
        }
        format!("{}, in a call of `{}`", quoted(self.told), self.function.function)
    }
}

fn verdict(taken: &Samples, places: &[Vec<Place>]) -> Verdict {
    let (Some(first), Some(last)) = (taken.samples.first(), taken.samples.last()) else { return Verdict::Over };
    if let Activity::Waiting { since, .. } = &last.doing
        && taken.samples.iter().all(|sample| sample.doing == last.doing)
    {
        let name = long_wait_text(&last.doing);
        return Verdict::Waits(format!("{name} for {}", seconds(last.at.saturating_duration_since(*since))));
    }
    if taken.samples.iter().all(|sample| sample.doing == Activity::Queued) {
        return Verdict::Queued("queued, no turn on a processor".to_owned());
    }
    let computing: Vec<Option<Spot<'_>>> = taken
        .samples
        .iter()
        .map(|sample| Spot::of(&sample.stack, places).filter(|_| sample.doing == Activity::Computing))
        .collect();
    if let Some(Some(here)) = computing.last()
        && computing.iter().all(|spot| spot.as_ref().is_some_and(|spot| spot.is(here)))
    {
        // Compilers make instructions that belong to no line; another sample may have hit one that does.
        let with_line = computing.iter().rev().flatten().find(|spot| spot.told.line.is_some());
        let words = with_line.unwrap_or(here).words();
        // One sample tells where the guest is, but not how long it has been there.
        return if computing.len() > 1 && last.fuel > first.fuel {
            Verdict::Spins(format!("spins in {words}"))
        } else {
            Verdict::Slow(format!("computes in {words}"))
        };
    }
    slow(taken, places)
}

/// Judges a guest that was seen in several places: names them, and the function that contains them all.
fn slow(taken: &Samples, places: &[Vec<Place>]) -> Verdict {
    let mut seen = BTreeSet::new();
    for sample in &taken.samples {
        seen.insert(match &sample.doing {
            Activity::Waiting { .. } => wait_text(&sample.doing),
            Activity::Queued => "queued".to_owned(),
            Activity::Computing => Spot::of(&sample.stack, places)
                .map_or("somewhere".to_owned(), |spot| format!("`{}`", spot.function.function)),
        });
    }
    let seen: Vec<String> = seen.into_iter().collect();
    let within = within(taken, places).map(|place| format!(", all within {}", quoted(&place))).unwrap_or_default();
    Verdict::Slow(format!("slow: busy in different places ({}){within}", seen.join(", ")))
}

/// Returns the innermost function that all stacks have in common, counted from the outermost; the author's, if there is
/// one.
fn within(taken: &Samples, places: &[Vec<Place>]) -> Option<Place> {
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

/// Returns `waits in X for Y`.
pub(super) fn wait_text(doing: &Activity) -> String {
    waiting(doing).map(|(call, what)| format!("waits in {call}{what}")).unwrap_or_default()
}

/// Returns `has been waiting in X for Y`, to which the caller appends a length of time.
fn long_wait_text(doing: &Activity) -> String {
    waiting(doing).map(|(call, what)| format!("has been waiting in {call}{what}")).unwrap_or_default()
}

/// Returns the host call in which a guest waits, and the thing that it waits for.
fn waiting(doing: &Activity) -> Option<(String, String)> {
    let Activity::Waiting { call, what, .. } = doing else { return None };
    let call = call.map_or("a host call".to_owned(), |call| format!("`{call}`"));
    let what = what.as_deref().map(|what| format!(" for `{what}`")).unwrap_or_default();
    Some((call, what))
}

/// Returns `function` (file:line).
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
