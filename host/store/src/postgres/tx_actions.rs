//! Pieces of work that are functions of the transaction, done by a lane in the order of the rows that they lock.

use async_trait::async_trait;
use futures_util::future::BoxFuture;

use crate::Result;

use super::batcher::{Batcher, Work};
use super::errors::{self, Step};
use super::locks;
use super::tx::Tx;

/// A function of the transaction.
type TxFn = Box<dyn for<'a> Fn(&'a mut Tx) -> BoxFuture<'a, Step<ActionResult>> + Send + Sync>;

/// A piece of work that is a function of the transaction.
pub(super) struct TxAction {
    /// A row that it locks and others want. All transactions lock such rows in one order, so that they cannot deadlock.
    locks: Option<locks::LockedRow>,
    work: TxFn,
}

/// The result of an [`TxAction`]; the caller knows its type.
pub(super) type ActionResult = Box<dyn std::any::Any + Send>;

/// Does [`TxAction`]s in the order of the rows that they lock, and in the order of their requests where that is the same.
#[derive(Debug)]
pub(super) struct TxActions;

#[async_trait]
impl Work for TxActions {
    type Item = TxAction;
    type Answer = ActionResult;

    async fn run(&self, tx: &mut Tx, items: &[&TxAction]) -> Step<Vec<Result<ActionResult>>> {
        let mut order: Vec<usize> = (0..items.len()).collect();
        order.sort_by_key(|place| &items[*place].locks);
        let mut answers: Vec<Option<Result<ActionResult>>> = items.iter().map(|_| None).collect();
        for place in order {
            answers[place] = Some(match (items[place].work)(&mut *tx).await {
                Ok(done) => Ok(done),
                Err(errors::Failure::Refused(error)) => Err(error),
                Err(failure) => return Err(failure),
            });
        }
        Ok(answers.into_iter().flatten().collect())
    }
}

impl Batcher<TxActions> {
    /// Has `work` done, and waits until it is committed.
    pub(super) async fn act<T, F>(&self, locks: Option<locks::LockedRow>, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: for<'a> Fn(&'a mut Tx) -> BoxFuture<'a, Step<T>> + Send + Sync + 'static,
    {
        let work: TxFn = Box::new(move |tx| {
            let doing = work(tx);
            Box::pin(async move { Ok(Box::new(doing.await?) as ActionResult) })
        });
        let done = self.ask(TxAction { locks, work }).await?;
        Ok(*done.downcast::<T>().expect("an act's answer is what the act returns"))
    }
}

/// Has a lane do `$body`, a piece of work with the transaction `$tx`, perhaps more than once: the variables in brackets
/// are cloned for each try. `$locks` is the row that it locks and others want.
macro_rules! act {
    ($lane:expr, [$($own:ident),*], |$tx:ident| $body:expr) => {
        act!($lane, None, [$($own),*], |$tx| $body)
    };
    ($lane:expr, $locks:expr, [$($own:ident),*], |$tx:ident| $body:expr) => {
        $lane
            .act($locks, move |$tx: &mut $crate::postgres::tx::Tx| {
                $(let $own = $own.clone();)*
                Box::pin(async move { $body.await })
            })
            .await
    };
}
pub(super) use act;
