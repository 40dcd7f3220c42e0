//! Begins a refresh and never publishes: it must end at its deadline, the last good value must stay, and the next run must be the one to renew it.

use crate::prelude::*;

pub(crate) fn run(_: &Request) -> Result<Output, Failure> {
    let Begun::Yours(_mine) = section("hostile/kept").max_age(Duration::ZERO).begin::<u32>()? else {
        // Another run of this attack has it, so this one waits and tries to overwrite the value.
        must(cache::swap("hostile/kept", Some(u64::MAX), b"0", None).is_err(), "swapped with a made-up version")?;
        spin()
    };
    log::info!("it is mine");
    spin()
}
