//! Pieces of work that are a function of the transaction, done by a lane in the order of what they lock.

use async_trait::async_trait;
use futures_util::future::BoxFuture;

use crate::store::Result;

use super::errors::{self, Step};
use super::lane::{Lane, Work};
use super::locks;
use super::tx::Tx;

/// A function of the transaction.
type OfTx = Box<dyn for<'a> Fn(&'a mut Tx) -> BoxFuture<'a, Step<Done>> + Send + Sync>;

/// A piece of work that is a function of the transaction.
pub(super) struct Act {
    /// What it locks of what many want. The acts of one transaction do so in everybody's order, so that nobody waits in a circle.
    locks: Option<locks::Mutex>,
    work: OfTx,
}

/// What came of an [`Act`]; who asked knows what it is.
pub(super) type Done = Box<dyn std::any::Any + Send>;

/// Does [`Act`]s, in the order of what they lock, and in the order they were asked for where that is the same.
#[derive(Debug)]
pub(super) struct Acts;

#[async_trait]
impl Work for Acts {
    type Item = Act;
    type Answer = Done;

    async fn run(&self, tx: &mut Tx, items: &[&Act]) -> Step<Vec<Result<Done>>> {
        let mut order: Vec<usize> = (0..items.len()).collect();
        order.sort_by_key(|place| &items[*place].locks);
        let mut answers: Vec<Option<Result<Done>>> = items.iter().map(|_| None).collect();
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

impl Lane<Acts> {
    /// Have `work` done, and wait until it is committed.
    pub(super) async fn act<T, F>(&self, locks: Option<locks::Mutex>, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: for<'a> Fn(&'a mut Tx) -> BoxFuture<'a, Step<T>> + Send + Sync + 'static,
    {
        let work: OfTx = Box::new(move |tx| {
            let doing = work(tx);
            Box::pin(async move { Ok(Box::new(doing.await?) as Done) })
        });
        let done = self.ask(Act { locks, work }).await?;
        Ok(*done.downcast::<T>().expect("an act's answer is what the act returns"))
    }
}

/// Have `$body`, a piece of work with the transaction `$tx`, done by a lane. What it takes from around it is named first:
/// it may be done more than once. Before that, what it locks of what many want.
macro_rules! act {
    ($lane:expr, [$($own:ident),*], |$tx:ident| $body:expr) => {
        act!($lane, None, [$($own),*], |$tx| $body)
    };
    ($lane:expr, $locks:expr, [$($own:ident),*], |$tx:ident| $body:expr) => {
        $lane
            .act($locks, move |$tx: &mut $crate::store::postgres::tx::Tx| {
                $(let $own = $own.clone();)*
                Box::pin(async move { $body.await })
            })
            .await
    };
}
pub(super) use act;
