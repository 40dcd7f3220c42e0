//! Programs, which export `wasi:cli/run`: they read their input from stdin, and their output is what they print.

use std::sync::Arc;

use wasmtime::Store;
use wasmtime::component::InstancePre;
use wasmtime_wasi::p2::bindings::CommandPre;

use crate::attempt::Order;

use super::{About, Answer, Call, ComponentKind, Start, Startable};

pub(super) struct Program;

impl<T: Send + 'static> ComponentKind<T> for Program {
    fn about(&self) -> &'static About {
        &About { name: "program", export: "wasi:cli/run@0.2.", is_program: true }
    }

    fn start(&self, linked: InstancePre<T>) -> wasmtime::Result<Start<T>> {
        Ok(Arc::new(CommandPre::new(linked)?))
    }
}

impl<T: Send + 'static> Startable<T> for CommandPre<T> {
    fn call<'a>(&'a self, store: &'a mut Store<T>, _: &'a Order) -> Call<'a> {
        Box::pin(async move {
            let program = self.instantiate_async(&mut *store).await?;
            let succeeded = program.wasi_cli_run().call_run(store).await?.is_ok();
            Ok(Answer::Exited(i32::from(!succeeded)))
        })
    }
}
