//! Decides whose turn it is among the runs of a task's backfills.

use std::collections::BTreeMap;

use crate::backfills::PIECE;
use sexton_domain::run::RunId;

/// The runs whose turn has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Starting<T> {
    /// The runs, by their task.
    pub(crate) runs: BTreeMap<T, Vec<RunId>>,
    /// Whether further runs wait for their turn.
    pub(crate) waiting: bool,
}

impl<T: Ord> Starting<T> {
    /// Decides for several tasks: how many runs of their backfills have had their turn and are not over, and those that
    /// wait, first to last and at most [`PIECE`].
    pub(crate) fn of(tasks: impl IntoIterator<Item = (T, (u64, Vec<(RunId, u32)>))>) -> Self {
        let mut starting = Self { runs: BTreeMap::new(), waiting: false };
        for (task, (going, waits)) in tasks {
            let runs = turns(going, waits.iter().copied());
            starting.waiting |= runs.len() < waits.len() || waits.len() as i64 == PIECE;
            if !runs.is_empty() {
                starting.runs.insert(task, runs);
            }
        }
        starting
    }
}

/// Returns those of the runs that wait for their turn, first to last, that may start now: `going` runs of the task's
/// backfills have had their turn and are not over. Each run has the most that may be going when it starts.
fn turns(mut going: u64, waiting: impl IntoIterator<Item = (RunId, u32)>) -> Vec<RunId> {
    let mut starting = Vec::new();
    for (run, at_once) in waiting {
        // Later runs do not overtake: a backfill goes on in the order of its instants.
        if going >= u64::from(at_once) {
            break;
        }
        going += 1;
        starting.push(run);
    }
    starting
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_take_turns_in_their_order_up_to_their_number_at_once() {
        let waiting = |most: &[u32]| (1..).map(RunId).zip(most.to_vec()).collect::<Vec<_>>();

        assert_eq!(turns(0, waiting(&[1, 1, 1])), [RunId(1)]);
        assert_eq!(turns(1, waiting(&[3, 3, 3])), [RunId(1), RunId(2)]);
        assert_eq!(turns(3, waiting(&[3, 3])), []);
        assert_eq!(
            turns(0, waiting(&[2, 1, 5])),
            [RunId(1)],
            "the second waits until nothing goes, and so does the third"
        );
        assert_eq!(turns(0, waiting(&[])), []);
    }

    #[test]
    fn each_task_gives_out_its_own_turns() {
        let waits = |runs: &[i64]| runs.iter().map(|run| (RunId(*run), 2)).collect::<Vec<_>>();

        let starting = Starting::of([("a", (1, waits(&[1, 2]))), ("b", (0, waits(&[3]))), ("c", (2, waits(&[4])))]);

        let runs = BTreeMap::from([("a", vec![RunId(1)]), ("b", vec![RunId(3)])]);
        assert_eq!(starting, Starting { runs, waiting: true });
        assert!(!Starting::of([("b", (0, waits(&[3])))]).waiting);
    }
}
