//! A program that knows WASI's interfaces for configuration, keys and values, and nothing of Sexton. It counts its runs.

use wasi::config::store as config;
use wasi::keyvalue::{atomics, batch, store};

wit_bindgen::generate!({
    path: ["../../../wit/deps/wasi-config.wit", "../../../wit/deps/wasi-keyvalue.wit"],
    inline: "package guest:standard; world imports {
        import wasi:config/store@0.2.0-rc.1;
        import wasi:keyvalue/store@0.2.0-draft2;
        import wasi:keyvalue/atomics@0.2.0-draft2;
        import wasi:keyvalue/batch@0.2.0-draft2;
    }",
    world: "guest:standard/imports",
    generate_all,
});

fn main() -> Result<(), String> {
    let prefix = config::get("prefix").map_err(|error| format!("{error:?}"))?.unwrap_or_default();
    let key = |name: &str| format!("{prefix}{name}");
    let bucket = store::open("default").map_err(|error| format!("{error:?}"))?;

    let runs = atomics::increment(&bucket, &key("runs"), 1).map_err(|error| format!("{error:?}"))?;
    batch::set_many(&bucket, &[(key("a"), b"1".to_vec()), (key("b"), b"2".to_vec())])
        .map_err(|error| format!("{error:?}"))?;
    let cas = atomics::Cas::new(&bucket, &key("a")).map_err(|error| format!("{error:?}"))?;
    atomics::swap(cas, b"swapped").map_err(|error| format!("{error:?}"))?;
    let a = bucket.get(&key("a")).map_err(|error| format!("{error:?}"))?.unwrap_or_default();
    let refused = bucket.set("not granted", b"x");

    println!("run {runs}, a is {}, and another key: {refused:?}", String::from_utf8_lossy(&a));
    Ok(())
}
