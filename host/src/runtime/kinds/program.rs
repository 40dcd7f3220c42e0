//! Programs, which export `wasi:cli/run`: they read their input from stdin, and their output is what they print.

use std::sync::Arc;

use wasmtime::Store;
use wasmtime::component::InstancePre;
use wasmtime_wasi::p2::bindings::CommandPre;

use crate::attempt::Order;

use super::super::guest::Guest;
use super::{Answer, Call, ComponentKind, Kind, Start, Startable};

pub(super) const KIND: Kind = Kind(&Program);

struct Program;

impl ComponentKind for Program {
    fn name(&self) -> &'static str {
        "program"
    }

    fn export(&self) -> &'static str {
        "wasi:cli/run@0.2."
    }

    fn start(&self, linked: InstancePre<Guest>) -> wasmtime::Result<Start> {
        Ok(Arc::new(CommandPre::new(linked)?))
    }

    fn is_program(&self) -> bool {
        true
    }
}

impl Startable for CommandPre<Guest> {
    fn call<'a>(&'a self, store: &'a mut Store<Guest>, _: &'a Order) -> Call<'a> {
        Box::pin(async move {
            let program = self.instantiate_async(&mut *store).await?;
            let succeeded = program.wasi_cli_run().call_run(store).await?.is_ok();
            Ok(Answer::Exited(i32::from(!succeeded)))
        })
    }
}
