//! Tasks, which export `sexton:task/runner`: they are called with a request and return their output.

use std::sync::Arc;

use wasmtime::Store;
use wasmtime::component::InstancePre;

use crate::attempt::Order;
use crate::imports::bindings::TaskPre;
use crate::imports::bindings::exports::sexton::task::runner::{self, Failure};
use sexton_domain::run::{Cause, Output};

use super::{About, Answer, Call, ComponentKind, Start, Startable};

pub(super) struct Task;

impl<T: Send + 'static> ComponentKind<T> for Task {
    fn about(&self) -> &'static About {
        &About { name: "task", export: "sexton:task/runner@0.1.", is_program: false }
    }

    fn start(&self, linked: InstancePre<T>) -> wasmtime::Result<Start<T>> {
        Ok(Arc::new(TaskPre::new(linked)?))
    }
}

impl<T: Send + 'static> Startable<T> for TaskPre<T> {
    fn call<'a>(&'a self, store: &'a mut Store<T>, order: &'a Order) -> Call<'a> {
        Box::pin(async move {
            let task = self.instantiate_async(&mut *store).await?;
            Ok(match task.sexton_task_runner().call_run(store, &request(order)).await? {
                Ok(output) => Answer::Output(Output { content_type: output.content_type, body: output.body }),
                Err(Failure::Transient(why)) => Answer::Transient(why),
                Err(Failure::Permanent(why)) => Answer::Permanent(why),
                Err(Failure::Deferred(ms)) => Answer::Deferred(ms),
            })
        })
    }
}

fn request(order: &Order) -> runner::Request {
    let claim = &order.claim;
    runner::Request {
        run_id: claim.key.run.to_string(),
        task: order.task.key.task.as_str().to_owned(),
        attempt: claim.key.attempt,
        due_at: u64::try_from(claim.due_at.as_millis()).unwrap_or(0),
        cause: match claim.cause {
            Cause::Schedule => runner::Cause::Schedule,
            Cause::Start => runner::Cause::Start,
            Cause::Demand => runner::Cause::Demand,
            Cause::Task => runner::Cause::Task,
        },
        input: claim.input.clone(),
    }
}
