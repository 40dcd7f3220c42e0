//! Goes on writing and then publishes, although its plugin was replaced and its run killed: nothing of it must be written once its run is over.

use crate::prelude::*;

pub(crate) fn run(_: &Request) -> Result<Output, Failure> {
    if settings::get("version").as_deref() == Some("2") {
        let renewed = section("hostile/stale").max_age(Duration::ZERO).refresh(|_| Ok::<_, Failure>("fresh".to_owned()))?;
        return Output::json(&renewed.state.to_string());
    }
    let Begun::Yours(mine) = section("hostile/stale").max_age(Duration::ZERO).begin::<String>()? else {
        return Err(Failure::permanent("another run is renewing the entry"));
    };
    cache::set_json("hostile/stale-began", &true, None)?;
    for _ in 0..1_000_000 {
        if cache::set_json("hostile/stale", "stale", None).is_err() {
            break;
        }
    }
    mine.publish("stale published".to_owned())?;
    Ok(Output::empty())
}
