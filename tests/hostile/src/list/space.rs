//! What wants more room than there is.

use super::of;
use crate::attack::Attack;

pub(super) fn attacks() -> Vec<Attack> {
    let (runs, quarantined) = (Attack::runs, Attack::quarantined);
    vec![
        runs(of!(rust "memory_bomb"), &["out-of-memory"]).deadline_ms(4000).says("33554432 bytes of memory"),
        runs(of!(text "memory_declared"), &["out-of-memory"]),
        quarantined(of!(text "memory_declared_huge"), "memory"),
        // Little memory of its own, as it takes time to use it up in small pieces.
        runs(of!(rust "body_hoard"), &["out-of-memory"])
            .memory_mib(4)
            .deadline_ms(10_000)
            .says("of which the host held"),
        runs(of!(rust "response_hoard"), &["out-of-memory"])
            .memory_mib(4)
            .deadline_ms(10_000)
            .says("of which the host held"),
        runs(of!(rust "request_words"), &["out-of-memory"])
            .memory_mib(16)
            .deadline_ms(10_000)
            .says("of which the host held"),
        quarantined(of!(text "memory_many"), "memories"),
        runs(of!(text "memory_grow_loop"), &["timed-out"]),
        runs(of!(rust "memory_copy"), &["timed-out", "out-of-fuel"]),
        runs(of!(text "memory_fill"), &["timed-out", "out-of-fuel"]),
        quarantined(of!(text "table_declared_huge"), "table"),
        runs(of!(text "table_grow_loop"), &["trapped"]).says("table elements"),
        runs(of!(text "table_fill"), &["timed-out", "out-of-fuel"]),
        runs(of!(text "resource_flood"), &["timed-out", "out-of-fuel", "trapped"]),
        quarantined(of!(made instances_many), "instances"),
        // The compiler takes all that it may have for each.
        quarantined(of!(made instances_doubling), "").most_at_once(4),
        quarantined(of!(made types_doubling), "type"),
        runs(of!(rust "random_flood"), &["timed-out", "trapped", "out-of-memory"]),
        runs(of!(rust "random_huge"), &["trapped"]),
        runs(of!(rust "zeroes_huge"), &["trapped"]),
        runs(of!(rust "stream_sizes"), &["succeeded"]),
    ]
}
