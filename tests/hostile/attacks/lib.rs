//! Holds all attacks in Rust, as one component, because linking each apart would take minutes. The setting `attack`
//! chooses.
//!
//! Each attack is a file that begins with what it does and what must happen. `Ok` means that the host did what it must.
//! Anything that the host must not let happen is a permanent failure that names it.

mod prelude;

use sexton_task::{Failure, Output, Request};

sexton_task::task!(run);

macro_rules! attacks {
    ($($name:ident)*) => {
        $(mod $name;)*

        fn run(request: Request) -> Result<Output, Failure> {
            let attack = sexton_task::settings::require("attack")?.replace('-', "_");
            match attack.as_str() {
                $(stringify!($name) => $name::run(&request),)*
                other => Err(Failure::permanent(format_args!("there is no attack `{other}`"))),
            }
        }
    };
}

attacks! {
    abort
    body_hoard
    burn_fuel
    cache_crumbs
    cache_fill
    cache_list
    clock_spin
    defer_for_ever
    disk_flood
    dns_hang
    environment
    error_words
    escape_words
    exit_one
    exit_zero
    failure_flood
    field_flood
    file_flood
    files
    handle_flood
    header_words
    http_body_flood
    http_connections
    http_drip
    http_head_flood
    http_host
    http_log_flood
    http_private_name
    http_redirect
    http_silent
    list_huge
    list_of_lists
    lock_hoard
    lock_names
    lock_queue
    lock_trap
    lock_ungranted
    log_flood
    memory_bomb
    memory_copy
    name_flood
    open_files
    output_flood
    panic
    path_escape
    pipe_open
    poll_crowd
    poll_spin
    random_flood
    random_huge
    recurse
    refresh_kept
    renewal_hoard
    request_words
    response_hoard
    schedule_bomb
    schedule_far
    sleep_for_ever
    sockets
    spin_in_run
    stale_version
    stdout_flood
    stream_hoard
    stream_sizes
    string_huge
    zeroes_huge
}
